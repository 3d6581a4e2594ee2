"""Exact arithmetic for agents: pure, needs nothing outside, registered with Letta as it stands."""

KIND = "pure"
POOLS = ("analysis", "planning", "rating")


def calculate(expression: str) -> str:
    """Calculate an arithmetic expression exactly, for example "(1250 - 980) / 980 * 100" or "median(3, 1, 2)".

    Knows + - * / // % ** and parentheses, abs, round, floor, ceil, sqrt, exp, log, log10, sin, cos, tan, min, max, sum,
    mean, median, stdev, factorial, and pi and e. Decimals are exact: 0.1 + 0.2 is 0.3. Write numbers without
    thousands separators, and 12 percent as 12 / 100.

    Args:
        expression (str): The expression, up to 1,000 characters.

    Returns:
        str: The expression with its result, and the exact fraction where the decimals have no end.
    """
    import ast
    import math
    import operator
    import statistics
    from collections.abc import Callable
    from fractions import Fraction

    Number = Fraction | float  # noqa: N806 - a type
    most_bits = 20_000

    def size(value: Number) -> int:
        if isinstance(value, float):
            return 0
        return max(value.numerator.bit_length(), value.denominator.bit_length())

    def power(base: Number, exponent: Number) -> Number:
        if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
            if size(base) * abs(int(exponent)) > most_bits:
                raise OverflowError
            return base ** int(exponent)
        if base < 0:
            raise ValueError("a root of a negative number is not real")
        return float(base) ** float(exponent)

    def root(value: Number) -> Number:
        if isinstance(value, Fraction) and value >= 0:
            over, under = math.isqrt(value.numerator), math.isqrt(value.denominator)
            if over**2 == value.numerator and under**2 == value.denominator:
                return Fraction(over, under)
        return math.sqrt(value)

    def factorial(value: Number) -> Number:
        if value != int(value) or not 0 <= value <= 1000:
            raise ValueError("factorial takes a whole number from 0 to 1000")
        return math.factorial(int(value))

    def by_float(function: Callable[..., float]) -> Callable[..., float]:
        return lambda *values: function(*(float(v) for v in values))

    operators = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: power,
        ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.UAdd: operator.pos, ast.USub: operator.neg,
    }  # fmt: skip
    functions = {
        "abs": abs, "round": lambda value, digits=0: round(Fraction(value), int(digits)), "floor": math.floor,
        "ceil": math.ceil, "sqrt": root, "exp": by_float(math.exp), "log": by_float(math.log),
        "log10": by_float(math.log10), "sin": by_float(math.sin), "cos": by_float(math.cos), "tan": by_float(math.tan),
        "min": lambda *values: min(values), "max": lambda *values: max(values), "sum": lambda *values: sum(values),
        "mean": lambda *values: sum(values) / len(values), "median": lambda *values: statistics.median(values),
        "stdev": by_float(lambda *values: statistics.stdev(values)), "factorial": factorial,
    }  # fmt: skip

    def apply(call: Callable[..., Number], *nodes: ast.AST) -> Number:
        result = call(*(value_of(node) for node in nodes))
        result = Fraction(result) if isinstance(result, int) else result
        if size(result) > most_bits:
            raise OverflowError
        return result

    def value_of(node: ast.AST) -> Number:
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return Fraction(ast.get_source_segment(text, node) or "")
            case ast.Name(id="pi" | "e"):
                return math.pi if node.id == "pi" else math.e
            case ast.UnaryOp(op=op, operand=operand) if type(op) in operators:
                return apply(operators[type(op)], operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in operators:
                return apply(operators[type(op)], left, right)
            case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if name in functions:
                return apply(functions[name], *args)
        known = f"it knows numbers, + - * / // % **, pi, e and {', '.join(functions)}"
        raise ValueError(f"{ast.get_source_segment(text, node)!r} is nothing that this tool can calculate; {known}")

    def shown(value: Number) -> str:
        if isinstance(value, float):
            return f"{value:.15g}"
        digits = next((d for d in range(31) if 10**d % value.denominator == 0), None)
        if digits is None:
            return f"{float(value):.15g} (exactly {value})"
        whole, part = divmod(abs(value.numerator) * 10**digits // value.denominator, 10**digits)
        return f"{'-' if value < 0 else ''}{whole}{f'.{part:0{digits}d}' if digits else ''}"

    if len(expression) > 1000:
        raise ValueError(f"expression: it has {len(expression):,} characters; the limit is 1,000")
    text = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        return f"{expression.strip()} = {shown(value_of(ast.parse(text, mode='eval').body))}"
    except SyntaxError as error:
        raise ValueError(f"expression: {expression!r} cannot be read: {error.msg}") from None
    except ZeroDivisionError:
        raise ValueError("expression: it divides by zero") from None
    except OverflowError:
        raise ValueError("expression: a number in it grows too large to calculate") from None
