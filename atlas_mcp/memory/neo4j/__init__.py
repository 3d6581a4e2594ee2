"""The facts in a Neo4j: fed from the record, walked over in its place while it is up to date, and never needed."""
