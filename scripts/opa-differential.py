#!/usr/bin/env python3
"""Every shipped rule gives the same answers under OPA as under Writ's own evaluator.

Takes the evaluations that the shipped fixtures need (`cargo run -p writ-gate --example rule_cases`), asks OPA's
Go library for the same, and compares. OPA comes as a Python wheel; where it cannot be had this says so and exits 0,
or 1 with --require.

  scripts/opa-differential.py [--require] [CASES.jsonl]
"""
import json
import pathlib
import subprocess
import sys
import tempfile

WHEEL = "opa-golib-python-bindings==0.4.4"
ROOT = pathlib.Path(__file__).resolve().parent.parent


def have_opa(folder):
    """Puts OPA's bindings into `folder`; the reason when that is not possible."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # The wheel asks for a newer Python than it needs: it is a C library behind ctypes.
    steps = [
        [*pip, "download", "--no-deps", "--python-version", "3.14", "--only-binary=:all:", "--dest", folder, WHEEL],
        [*pip, "install", "--no-deps", "--ignore-requires-python", "--target", folder],
    ]
    for step in steps:
        if step[5] == "install":
            step += [str(wheel) for wheel in pathlib.Path(folder).glob("opa_golib*.whl")]
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            return lines[-1] if lines else "pip failed"
    sys.path.insert(0, folder)
    return None


def cases(path):
    if path:
        return pathlib.Path(path).read_text().splitlines()
    command = ["cargo", "run", "--quiet", "-p", "writ-gate", "--example", "rule_cases"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def main(arguments):
    require = "--require" in arguments
    paths = [argument for argument in arguments if not argument.startswith("--")]
    with tempfile.TemporaryDirectory() as folder:
        problem = None
        try:
            import opa_bindings  # noqa: F401
        except ImportError:
            problem = have_opa(folder)
        if problem is None:
            try:
                from opa_bindings import OpaEngine, OpaError, OpaUndefinedError
            except (ImportError, OSError) as error:
                problem = str(error)
        if problem is not None:
            print(f"skipped: OPA is not available here: {problem}")
            return 1 if require else 0
        engine = OpaEngine()
        for path in sorted((ROOT / "bundle" / "rules").glob("*.rego")):
            engine.add_policy(str(path.relative_to(ROOT)), path.read_text())
        compared, different = 0, []
        for line in cases(paths[0] if paths else None):
            case = json.loads(line)
            family, name = case["rule"].split(".")
            try:
                answer = {"Ok": engine.eval_document(f"writ.{family}.{name}", case["input"])}
            except OpaUndefinedError:
                answer = {"Ok": None}
            except OpaError as error:
                answer = {"Err": str(error)}
            compared += 1
            ours = case["answer"]
            both_refuse = "Err" in ours and "Err" in answer
            if ours != answer and not both_refuse:
                different.append((case["rule"], case["input"], ours, answer))
    for rule, given, ours, theirs in different:
        print(f"{rule} differs\n  input {json.dumps(given)[:2000]}\n  writ  {json.dumps(ours)}\n  opa   {json.dumps(theirs)}")
    print(f"{compared} evaluations compared with OPA, {len(different)} differ")
    return 1 if different or not compared else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
