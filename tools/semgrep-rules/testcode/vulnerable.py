"""Every rule of rules/python.yml finds the line after its `ruleid` comment. Never run this."""
import hashlib
import os
import pickle
import subprocess
import ssl

import jwt
import requests
import urllib3
import yaml
from flask import Flask, make_response, redirect, request

app = Flask(__name__)


def find(cursor, name):
    # ruleid: py-sql-injection
    cursor.execute(f"select * from payment where name = '{name}'")
    # ruleid: py-sql-injection
    cursor.execute("select * from payment where name = '%s'" % name)
    sql = "select * from payment where name = " + name
    # ruleid: py-sql-injection
    return cursor.execute(sql)


def archive(name):
    # ruleid: py-command-injection
    subprocess.run(f"gzip {name}", shell=True)
    # ruleid: py-command-injection
    os.system("gzip " + name)


def statement(name):
    # ruleid: py-path-traversal
    with open(os.path.join("statements", name)) as file:
        return file.read()


def key(text):
    # ruleid: py-weak-hash
    return hashlib.md5(text).hexdigest()


def claims(token):
    # ruleid: py-jwt-unverified
    return jwt.decode(token, "key", options={"verify_signature": False})


def fetch(url):
    # ruleid: py-tls-unverified
    requests.get(url, verify=False)
    # ruleid: py-tls-unverified
    return urllib3.PoolManager(cert_reqs=ssl.CERT_NONE)


@app.get("/hello")
def hello():
    name = request.args.get("name")
    # ruleid: py-reflected-xss
    return make_response("<h1>" + name + "</h1>")


@app.get("/go")
def go():
    # ruleid: py-open-redirect
    return redirect(request.args.get("to"))


@app.get("/proxy")
def proxy():
    target = request.args["url"]
    # ruleid: py-ssrf
    return requests.get(target).text


def load(data):
    # ruleid: py-unsafe-deserialisation
    pickle.loads(data)
    # ruleid: py-unsafe-deserialisation
    return yaml.load(data, Loader=yaml.Loader)


def calculate(text):
    # ruleid: py-code-injection
    return eval(text)


def genuine(body, given):
    # ruleid: py-timing-comparison
    return signature(body) == given


# ruleid: py-debug-server
app.run(debug=True)
