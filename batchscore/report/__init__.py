"""Reports: one offline HTML page for a run, one index page for jobs; records in, text out."""
