"""What operators call, under /v1: one router per aggregate."""
