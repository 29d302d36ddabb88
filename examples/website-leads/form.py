"""Stands for the website: sends what a visitor typed into the form, as it would send it to any address."""

import json
import sys
import urllib.request

email, name, wish = sys.argv[1:]
body = json.dumps({"lead": {"email": email, "name": name, "wish": wish}}).encode()
headers = {"Content-Type": "application/json", "X-Token": "an-example"}
with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8461/hooks/website", body, headers)) as answer:
    print(answer.status)
