"""Run a snippet of a document and check its comments: ``python run_snippet.py FILE DOCUMENT FIRST_LINE``.

Where a line is an expression and the comment behind it is a literal, the expression's value must equal the literal.
"""

import ast
import sys
from pathlib import Path
from typing import Any


def promised(statement: ast.Expr, lines: list[str]) -> ast.expr | None:
    """The literal in the comment behind an expression, if it is one."""
    rest = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode().strip()
    try:
        literal = ast.parse(rest.removeprefix("#").strip(), mode="eval").body
        ast.literal_eval(literal)
    except (SyntaxError, ValueError):
        return None
    return literal


def check(value: Any, literal: Any, line: int) -> None:
    if (type(value), value) != (type(literal), literal):
        raise AssertionError(f"line {line}: {value!r}, not {literal!r}")


class Checked(ast.NodeTransformer):
    """Puts ``check`` around every expression that promises its value."""

    def __init__(self, source: str, first_line: int) -> None:
        self.lines = source.splitlines()
        self.first_line = first_line

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        literal = promised(node, self.lines)
        if literal is None:
            return node
        line = ast.Constant(self.first_line + node.lineno - 1)
        call = ast.Call(ast.Name("__check", ast.Load()), [node.value, literal, line], [])
        return ast.copy_location(ast.Expr(call), node)


def main(file: str, document: str, first_line: int) -> None:
    source = Path(file).read_text(encoding="utf-8")
    tree = Checked(source, first_line).visit(ast.parse(source))
    tree = ast.increment_lineno(ast.fix_missing_locations(tree), first_line - 1)
    exec(compile(tree, document, "exec"), {"__name__": "__main__", "__check": check})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
