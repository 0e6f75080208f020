"""What people see.

flow        how far a login has come, sealed, in their own hands
browser     the session's cookie
render      templates and their policy
authorize   where products send their users
login       address and password
"""
