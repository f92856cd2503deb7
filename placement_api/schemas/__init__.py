"""JSON Schemas of the bodies and query strings of requests, one noun per file, for each range of microversions."""
