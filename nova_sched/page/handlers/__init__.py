"""The handlers of the routes, one file per noun: each takes an Asked and returns an Answer."""
