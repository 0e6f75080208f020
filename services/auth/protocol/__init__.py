"""What products speak: OAuth 2.0 and OpenID Connect, on Authlib.

wire        HTTP as Authlib wants to see it
provider    the authorization server of one request
code, refresh   the two grants
tokens      what tokens say
endpoints   discovery, keys, token, userinfo
"""
