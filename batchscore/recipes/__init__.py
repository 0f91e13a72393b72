"""Recipes: a job handed to what runs it, as a command line, a manifest or a DAG, made from the job itself."""
