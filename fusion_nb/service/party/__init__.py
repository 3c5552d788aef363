"""The party's side of a service: a program that keeps the rows asks for requests, and answers."""
