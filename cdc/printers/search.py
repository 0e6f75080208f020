"""Full-text search values. Source: tsvectorsend, tsvectorout, tsquerysend and infix() of PostgreSQL."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_VALUE = 1
_NOT, _AND, _OR, _PHRASE = 1, 2, 3, 4
_WEIGHTS = ((8, "A"), (4, "B"), (2, "C"), (1, "D"))
_PRIORITY = {_OR: 1, _AND: 2, _PHRASE: 3, _NOT: 4}


def tsvector(value: bytes) -> str:
    (lexemes,) = struct.unpack_from(">i", value)
    at, parts = 4, []
    for _ in range(lexemes):
        end = value.index(0, at)
        text = _quoted(value[at:end])
        (positions,) = struct.unpack_from(">H", value, end + 1)
        at = end + 3 + 2 * positions
        if positions:
            packed = struct.unpack_from(f">{positions}H", value, end + 3)
            text += ":" + ",".join(f"{one & 0x3FFF}{('', 'C', 'B', 'A')[one >> 14]}" for one in packed)
        parts.append(text)
    return " ".join(parts)


def tsquery(value: bytes) -> str:
    (items,) = struct.unpack_from(">i", value)
    return _Query(value, 4).infix(-1, right_of_phrase=False) if items else ""


def _quoted(lexeme: bytes) -> str:
    return "'" + lexeme.decode().replace("\\", "\\\\").replace("'", "''") + "'"


@dataclass(slots=True)
class _Query:
    """Items in Polish notation, the right operand first."""

    value: bytes
    at: int

    def infix(self, outer: int, *, right_of_phrase: bool) -> str:
        kind, operator = self.value[self.at], self.value[self.at + 1]
        if kind == _VALUE:
            return self._operand()
        self.at += 2
        priority = _PRIORITY[operator]
        if operator == _NOT:
            text = "!" + self.infix(priority, right_of_phrase=False)
            return f"( {text} )" if priority < outer else text
        distance = 0
        if operator == _PHRASE:
            (distance,) = struct.unpack_from(">H", self.value, self.at)
            self.at += 2
        right = self.infix(priority, right_of_phrase=operator == _PHRASE)
        left = self.infix(priority, right_of_phrase=False)
        sign = {_OR: "|", _AND: "&", _PHRASE: "<->" if distance == 1 else f"<{distance}>"}[operator]
        text = f"{left} {sign} {right}"
        return f"( {text} )" if priority < outer or (operator == _PHRASE and right_of_phrase) else text

    def _operand(self) -> str:
        weights, prefix = self.value[self.at + 1], self.value[self.at + 2]
        end = self.value.index(0, self.at + 3)
        text = _quoted(self.value[self.at + 3 : end])
        self.at = end + 1
        marks = ("*" if prefix else "") + "".join(name for bit, name in _WEIGHTS if weights & bit)
        return f"{text}:{marks}" if marks else text
