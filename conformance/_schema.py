"""Objects made from the schema of a definition, and what a server has to make of them. Python's standard library only.

Knows what the definitions of OpenKruise and Koordinator use: no rules in CEL, no oneOf, allOf or not.
"""

import copy

try:
    from re import _parser as regex
except ImportError:  # before Python 3.11
    import sre_parse as regex

UNKNOWN = "x-kubernetes-preserve-unknown-fields"
WHOLE = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
# The server owns these fields of every object, whatever the schema says.
ROOT = ("apiVersion", "kind", "metadata")


def matching(pattern):
    """The shortest text that a pattern takes: the first branch everywhere, as few repeats as allowed, one where none is needed."""

    def of(parts):
        out = ""
        for op, arg in parts:
            op = str(op)
            if op == "LITERAL":
                out += chr(arg)
            elif op == "IN":
                kind, value = arg[0]
                out += chr(value if str(kind) == "LITERAL" else value[0])
            elif op == "ANY":
                out += "a"
            elif op in ("MAX_REPEAT", "MIN_REPEAT"):
                out += of(arg[2]) * arg[0]
            elif op == "SUBPATTERN":
                out += of(arg[-1])
            elif op == "BRANCH":
                out += of(arg[1][0])
            elif op != "AT":
                raise ValueError(f"{op} in pattern {pattern}")
        return out

    return of(regex.parse(pattern))


def example(schema, full=False, root=False):
    """A valid value: what is required and has no default, or everything there is."""
    kind = schema.get("type")
    if "enum" in schema:
        return next((v for v in schema["enum"] if v != ""), "")
    if schema.get(INT_OR_STRING):
        return matching(schema["pattern"]) if "pattern" in schema else 1
    if kind == "object" or "properties" in schema:
        return fields(schema, full, root)
    if kind == "array":
        least = max(schema.get("minItems", 0), 1 if full else 0)
        return [example(schema["items"], full) for _ in range(least)]
    if kind == "string":
        return word(schema)
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 0), min(schema.get("maximum", 2), 2))
    if kind == "boolean":
        return not schema.get("default", False)
    return {"kept": [1, {"deep": True}]} if full else {}


def fields(schema, full, root):
    properties, required = schema.get("properties", {}), schema.get("required", [])
    chosen = properties if full else [name for name in required if "default" not in properties[name]]
    out = {name: example(properties[name], full) for name in chosen if not (root and name in ROOT)}
    if schema.get(WHOLE):
        out.update(apiVersion="v1", kind="ConfigMap", metadata={"name": "inner"}, data={"kept": "yes"})
    elif schema.get(UNKNOWN) and full:
        out["kept"] = [1, {"deep": True}]
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and (full or schema.get("minProperties")):
        out["key"] = example(values, full)
    more = (name for name in properties if name not in out)
    while len(out) < schema.get("minProperties", 0):
        name = next(more)
        out[name] = example(properties[name], full)
    return out


def word(schema):
    if schema.get("format") == "date-time":
        return "2026-01-02T03:04:05Z"
    if schema.get("pattern"):
        return matching(schema["pattern"]).ljust(schema.get("minLength", 0), "a")
    return "word".ljust(schema.get("minLength", 0), "a")


def pruned(schema, value, root=False):
    """What is left of a value after what the schema does not specify is dropped."""
    if isinstance(value, list):
        return [pruned(schema.get("items", {}), one) for one in value]
    if not isinstance(value, dict) or schema.get(INT_OR_STRING):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    out = {}
    for name, one in value.items():
        if (root or schema.get(WHOLE)) and name in ROOT:
            out[name] = one
        elif name in properties:
            out[name] = pruned(properties[name], one)
        elif isinstance(others, dict):
            out[name] = pruned(others, one)
        elif schema.get(UNKNOWN):
            out[name] = one
    return out


def defaulted(schema, value):
    """The value with the defaults of its schema filled in, in place."""
    if isinstance(value, list):
        for one in value:
            defaulted(schema.get("items", {}), one)
    if isinstance(value, dict):
        for name, one in schema.get("properties", {}).items():
            if "default" in one and (name not in value or value[name] is None and not one.get("nullable")):
                value[name] = copy.deepcopy(one["default"])
            if name in value:
                defaulted(one, value[name])
        if isinstance(schema.get("additionalProperties"), dict):
            for name in value.keys() - schema.get("properties", {}).keys():
                defaulted(schema["additionalProperties"], value[name])
    return value


def defaults(schema, path=""):
    """Paths that have a default."""
    found = [path] if "default" in schema else []
    for name, one in schema.get("properties", {}).items():
        found += defaults(one, f"{path}.{name}")
    for key, end in (("items", "[0]"), ("additionalProperties", ".key")):
        if isinstance(schema.get(key), dict):
            found += defaults(schema[key], path + end)
    return found


def wrongs(schema, value, path="", keys=()):
    """Every way to make one place of a valid value wrong: (keys to it, the wrong value or None to leave it out, path, words)."""
    yield from wrong_here(schema, path, keys)
    if isinstance(value, list) and value and "items" in schema:
        yield from wrongs(schema["items"], value[0], f"{path}[0]", (*keys, 0))
    if not isinstance(value, dict):
        return
    for name, one in schema.get("properties", {}).items():
        if name not in value or not keys and name in ROOT:
            continue
        at = f"{path}.{name}" if path else name
        if name in schema.get("required", []) and "default" not in one:
            yield (*keys, name), None, at, "Required value"
        yield from wrongs(one, value[name], at, (*keys, name))
    others = schema.get("additionalProperties")
    if isinstance(others, dict) and "key" in value:
        yield from wrongs(others, value["key"], f"{path}.key", (*keys, "key"))


def wrong_here(schema, path, keys):
    if not keys:
        return
    kind = schema.get("type")
    if schema.get(INT_OR_STRING):
        yield keys, [], path, "must be of type integer,string"
        if "pattern" in schema:
            yield keys, "!", path, "should match"
    elif kind and "format" in schema:
        yield keys, {"x": 1}, path, "must be of type "
    elif kind:
        yield keys, ["x"] if kind != "array" else "x", path, f"must be of type {kind}"
    if "enum" in schema:
        yield keys, "Nonsense", path, 'Unsupported value: "Nonsense": supported values: '
    if "minimum" in schema:
        yield keys, schema["minimum"] - 1, path, f"should be greater than or equal to {schema['minimum']}"
    if "maximum" in schema:
        yield keys, schema["maximum"] + 1, path, f"should be less than or equal to {schema['maximum']}"
    if kind == "string" and "enum" not in schema:
        if schema.get("minLength"):
            yield keys, "", path, f"should be at least {schema['minLength']} chars long"
        if "maxLength" in schema:
            yield keys, "a" * (schema["maxLength"] + 1), path, f"may not be more than {schema['maxLength']} bytes"
        if "pattern" in schema:
            yield keys, "!", path, "should match"
        if schema.get("format") == "date-time":
            yield keys, "yesterday", path, "must be of type date-time"
    if schema.get("minItems"):
        yield keys, [], path, f"should have at least {schema['minItems']} items"
    if schema.get("minProperties"):
        yield keys, {}, path, f"should have at least {schema['minProperties']} properties"


def changed(value, keys, to):
    """A copy with one place changed, or left out."""
    out = copy.deepcopy(value)
    at = out
    for key in keys[:-1]:
        at = at[key]
    if to is None:
        del at[keys[-1]]
    else:
        at[keys[-1]] = to
    return out
