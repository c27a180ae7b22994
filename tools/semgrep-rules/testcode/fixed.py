"""The same program without the faults: no rule may find anything here."""
import ast
import hashlib
import hmac
import html
import json
import os
import subprocess

import jwt
import requests
import urllib3
import yaml
from flask import Flask, make_response, redirect, request

app = Flask(__name__)


def find(cursor, name):
    cursor.execute("select * from payment where name = ?", (name,))
    sql = "select * from payment where name = ?"
    return cursor.execute(sql, (name,))


def archive(name):
    subprocess.run(["gzip", "--", name], check=True)
    subprocess.run("sync", shell=True)


def statement(name):
    plain_name(name)
    with open(os.path.join("statements", name)) as file:
        return file.read()


def key(text):
    hashlib.md5(text, usedforsecurity=False)
    return hashlib.sha256(text).hexdigest()


def claims(token, secret):
    return jwt.decode(token, secret, algorithms=["HS256"])


def fetch(url):
    requests.get(url)
    return urllib3.PoolManager()


@app.get("/hello")
def hello():
    name = html.escape(request.args.get("name"))
    return make_response("<h1>" + name + "</h1>")


@app.get("/go")
def go():
    return redirect(local_path(request.args.get("to")))


@app.get("/proxy")
def proxy():
    return requests.get(allowed_host(request.args["url"])).text


def load(data):
    yaml.load(data, Loader=yaml.SafeLoader)
    return json.loads(data)


def calculate(text):
    return ast.literal_eval(text)


def genuine(body, given):
    return hmac.compare_digest(signature(body), given)


app.run()
