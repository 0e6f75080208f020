"""The HTTP side that directory and asset have in common: a library, not a service. It knows neither of them.

What the services share in meaning (transaction, event, error) is in ``shared``; what is here is only how a command
gets in and an answer out, so a service may leave it for its own at any time.

    app        one FastAPI of a service's routers; ``python -m services.<name>``
    edge       what every request passes first: the token, the limit on its size
    call       who calls, under which key, what it answers
    reads      one aggregate, a page of them, and what happened to it
    docs       the API's description, as a page
    fields     what a field may hold
    problems   refusals as application/problem+json
    settings   the environment, checked
"""
