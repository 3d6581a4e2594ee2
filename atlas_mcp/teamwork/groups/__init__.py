"""Groups at work: a caller's message, the turns that it sets off, and the background agents' turns after them."""
