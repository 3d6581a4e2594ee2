-- Run once, when PostgreSQL's volume is empty: a database for each of its two users.
CREATE DATABASE letta;
CREATE DATABASE mlflow;
\connect letta
CREATE EXTENSION IF NOT EXISTS vector;
