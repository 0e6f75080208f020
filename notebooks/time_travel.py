"""Look at one table of a lake at two moments, at what changed between them, and at one row's life.

    uv run marimo run notebooks/time_travel.py                                    the lake of ./rireki.toml
    uv run marimo run notebooks/time_travel.py -- --lake file:///folder --table app.users --key 42 --zone Asia/Tokyo

A lake on S3 takes its keys from ``AWS_*``, as everywhere. Reads only, and never a whole table: rows are shown up to a
limit, and what is counted or compared is counted and compared where it lies.
"""

import marimo

app = marimo.App(width="medium", app_title="Time travel")


@app.cell
def opened():
    import itertools
    import json
    import os
    from datetime import datetime

    import altair as alt
    import marimo as mo
    import polars as pl

    from cdc import errors, relation
    from lakehouse.duck import identifier
    from lakehouse.json_values import json_rows
    from lakehouse.lake import Lake
    from lakehouse.moment import read_zone
    from lakehouse.root import LakeRoot
    from lakehouse.sql import spelled_out
    from pipelines.config import load

    asked = mo.cli_args()
    if asked.get("lake"):
        keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        root = LakeRoot(str(asked.get("lake")), keys)
    else:
        root = load().lake_root()
    lake = Lake.open(root)
    shown_rows = 200
    return (
        alt,
        asked,
        datetime,
        errors,
        identifier,
        itertools,
        json,
        json_rows,
        lake,
        mo,
        pl,
        read_zone,
        relation,
        shown_rows,
        spelled_out,
    )


@app.cell
def saying(errors, mo):
    def refused(error: errors.RirekiError):
        """An error of ours, as the command line says it."""
        return mo.callout(mo.md(f"**{error.subject}**: {error.what}\n\nNext: {error.fix}"), kind="danger")

    def cell(value):
        """NULL is told apart from the empty string and from the word."""
        return "∅" if value is None else value if isinstance(value, str) else str(value)

    return cell, refused


@app.cell
def questions(asked, lake, mo):
    cuts = lake.sql("SELECT cut_lsn, source_time FROM rireki.cuts ORDER BY cut_lsn").arrow
    names = [str(name) for name in lake.tables()]
    table = mo.ui.dropdown(names, value=str(asked.get("table") or names[0]), label="table", searchable=True)
    zone = mo.ui.text(value=str(asked.get("zone") or "UTC"), label="zone")
    between = mo.ui.range_slider(
        start=1, stop=max(2, len(cuts)), value=[1, max(2, len(cuts))], label="cuts", debounce=True, full_width=True
    )
    hint = "2026-10-01 09:00, 2026-10-01, 16/B374D848 or now"
    exact = mo.ui.array([mo.ui.text(placeholder=hint, label=label, full_width=True) for label in ("then", "later")])
    mo.vstack(
        [
            mo.md(f"# Time travel\n`{lake.root.url}`"),
            mo.hstack([table, zone], justify="start"),
            between,
            mo.md("A time, day or LSN typed here counts instead of the slider's cut:"),
            mo.hstack(list(exact), widths="equal"),
        ]
    )
    return between, cuts, exact, table, zone


@app.cell
def points(between, cuts, errors, exact, lake, mo, read_zone, refused, relation, table, zone):
    name = relation.TableName.parse(table.value)
    try:
        where = read_zone(zone.value)
        _numbers = [min(number, len(cuts)) for number in between.value]
        _chosen = [cuts["source_time"][number - 1].as_py() for number in _numbers]
        _moments = [lake.at(text.strip() or cut, where) for text, cut in zip(exact.value, _chosen, strict=True)]
    except errors.RirekiError as error:
        mo.stop(True, refused(error))
    _swapped = _moments[0].lsn > _moments[1].lsn
    earlier, later = sorted((moment.of({name}) for moment in _moments), key=lambda moment: moment.lsn)

    def local(time):
        """A time of the source's clock in the zone asked for, which it names."""
        return f"{time.astimezone(where):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {where}"

    def _told(label, moment, number, text):
        at = f"`{text.strip()}`" if text.strip() else f"cut {number} of {len(cuts)}"
        verdict = "complete" if moment.complete else "**not complete**"
        gaps = "".join(f"; gap from {gap.from_lsn} to {gap.to_lsn or 'now'}: {gap.reason}" for gap in moment.gaps)
        return f"- **{label}**: {at}, **{local(moment.source_time)}**, LSN `{moment.lsn}`, {verdict}{gaps}"

    _labels = zip(
        ("Then", "Later"), (later, earlier) if _swapped else (earlier, later), _numbers, exact.value, strict=True
    )
    _lines = [_told(*one) for one in _labels]
    mo.md("\n".join([*_lines, *(["- the two are taken in the order of their time"] if _swapped else [])]))
    return earlier, later, local, name, where


@app.cell
def states(
    cell,
    datetime,
    earlier,
    errors,
    identifier,
    json_rows,
    lake,
    later,
    local,
    mo,
    name,
    refused,
    shown_rows,
    spelled_out,
):
    def _rows_at(moment, limit):
        """The first rows by key, and how many there are."""
        own = lake.sql(f"FROM {spelled_out(name)} LIMIT 0", at=moment).arrow.schema
        columns = [column for column in own.names if column != "_valid_from_lsn"]
        order = ", ".join(map(identifier, lake.difference(name, moment, moment).key)) or "ALL"
        listed = ", ".join(map(identifier, columns))
        found = lake.sql(f"FROM {spelled_out(name)} SELECT {listed} ORDER BY {order} LIMIT {limit}", at=moment).arrow
        count = lake.sql(f"FROM {spelled_out(name)} SELECT count(*)", at=moment).arrow[0][0].as_py()
        moments = [index for index, field in enumerate(found.schema) if str(field.type).startswith("timestamp")]
        shown = []
        for row in json_rows(found):
            for index in moments:
                if row[index] is not None and row[index].endswith("Z"):
                    row[index] = local(datetime.fromisoformat(row[index]))
            shown.append(dict(zip(columns, map(cell, row), strict=True)))
        return shown, count

    def _state(label, moment):
        heading = f"## {label}: {name} at {local(moment.source_time)}"
        try:
            found, count = _rows_at(moment, shown_rows)
        except errors.RirekiError as error:
            return mo.vstack([mo.md(heading), refused(error)]), []
        more = f", the first {len(found)} by key" if count > len(found) else ""
        grid = mo.ui.table(found, selection=None, page_size=5, show_data_types=False) if found else mo.md("no row")
        return mo.vstack([mo.md(f"{heading}\n{count} rows{more}"), grid]), found

    _then, _ = _state("Then", earlier)
    _now, latest = _state("Later", later)
    mo.vstack([_then, _now])
    return (latest,)


@app.cell
def changes(cell, earlier, errors, lake, later, local, mo, name, pl, refused, shown_rows):
    try:
        difference = lake.difference(name, earlier, later)
        _parts = {"changed": difference.changed, "added": difference.added, "removed": difference.removed}
        # Streamed: what is compared may be larger than the memory. Of an _order there is none but the key's.
        _counts = pl.collect_all([frame.select(pl.len()) for frame in _parts.values()], engine="streaming")
        _order = list(difference.key)
        firsts = pl.collect_all(
            [(frame.sort(_order) if _order else frame).head(shown_rows) for frame in _parts.values()],
            engine="streaming",
        )
    except errors.RirekiError as error:
        mo.stop(True, refused(error))
    _count = dict(zip(_parts, (one.item() for one in _counts), strict=True))

    def _value(one):
        return local(one) if hasattr(one, "tzinfo") and one.tzinfo is not None else cell(one)

    def _changed_row(row):
        what = (
            f"{column}: {_value(row['_before'][column])} → {_value(row['_after'][column])}"
            for column in row["_changed"]
        )
        return {column: _value(row[column]) for column in difference.key} | {"what changed": "; ".join(what)}

    def _whole_row(row):
        return {column: _value(one) for column, one in row.items() if column != "_valid_from_lsn"}

    def _grid(kind, frame):
        found = [_changed_row(row) if kind == "changed" else _whole_row(row) for row in frame.to_dicts()]
        more = f", the first {len(found)} by key" if _count[kind] > len(found) else ""
        heading = mo.md(f"**{_count[kind]} {kind}**{more}")
        if not found:
            return heading
        looks = (
            {"wrapped_columns": ["what changed"], "column_widths": {"what changed": 600}} if kind == "changed" else {}
        )
        shown = mo.ui.table(found, selection=None, page_size=5, show_data_types=False, **looks)
        return mo.vstack([heading, shown])

    _keyless = (
        "" if difference.key else "\n\nIts rows can't be told apart by a key: one that changed has gone and come."
    )
    _span = f"from {local(earlier.source_time)} to {local(later.source_time)}"
    mo.vstack(
        [
            mo.md(f"## Between\n{', '.join(f'{number} {kind}' for kind, number in _count.items())} {_span}{_keyless}"),
            *(_grid(kind, frame) for kind, frame in zip(_parts, firsts, strict=True)),
        ]
    )
    return difference, firsts


@app.cell
def key_asked(asked, difference, firsts, json, latest, mo):
    # A row that changed has more of a life than the _first of the table.
    _rows = [*firsts[0].select(difference.key).to_dicts(), *latest] if difference.key else []
    _first = [str(_rows[0][column]) for column in difference.key] if _rows else []
    _given = asked.get("key") or (_first[0] if len(_first) == 1 else json.dumps(_first) if _first else "")
    key = mo.ui.text(value=str(_given), label="key", full_width=True)
    mo.vstack([mo.md("## One row's life"), key])
    return (key,)


@app.cell
def life(cell, datetime, errors, itertools, key, lake, local, mo, name, refused):
    try:
        _changes = lake.trace(name, key.value)
    except errors.RirekiError as error:
        mo.stop(True, refused(error))
    mo.stop(not _changes, mo.md(f"No row of {name} ever had the key `{key.value}`."))
    held = lake.at("now").held.time

    def _what(change):
        if change.values is None:
            return "gone"
        if change.before is None:
            return "; ".join(f"{column}: {cell(one)}" for column, one in change.values.items() if one is not None)
        return "; ".join(
            f"{column}: {cell(change.before.get(column))} → {cell(change.values.get(column))}"
            for column in change.changed
        )

    # What each change made of the row lasts until the life's next one; what still is has no end.
    spans, states = [], []
    for _number, _one_life in itertools.groupby(sorted(_changes, key=lambda one: one.life), lambda one: one.life):
        for _change, _following in itertools.pairwise([*_one_life, None]):
            _begin = datetime.fromisoformat(_change.committed_at)
            _end = None if _following is None else datetime.fromisoformat(_following.committed_at)
            states.append((_number, _change, _begin, _end))
            spans.append(
                {
                    "life": _number,
                    "from": local(_begin),
                    "to": "" if _change.values is None else "still" if _end is None else local(_end),
                    "op": _change.op,
                    "what": _what(_change),
                    "who": _change.who.actor or "nobody said who",
                    "why": _change.who.reason or "nobody said why",
                    "lsn": str(_change.lsn),
                }
            )
    return held, spans, states


@app.cell
def drawn(alt, cell, held, itertools, local, mo, spans, states, where):
    def wall(time):
        """Vega knows UTC and the browser's zone only: the clock of the zone asked for goes in as if it were UTC."""
        return time.astimezone(where).replace(tzinfo=None).isoformat() + "Z"

    def bar(lane, value, run):
        """One span for states that follow each other."""
        (_, _, begin, _, first), (_, _, _, end, last) = run[0], run[-1]
        times = {"begin": wall(begin), "end": wall(end or held), "seconds": ((end or held) - begin).total_seconds()}
        return {"lane": lane, "value": value, **times, **first, "to": last["to"]}

    alive = [(*state, span) for state, span in zip(states, spans, strict=True) if state[1].values is not None]
    bars = [bar(f"life {state[0]}", state[1].op, [state]) for state in alive]
    # Under the lives, each column that ever changed, as long as a screen holds them: one span for each value.
    moved = dict.fromkeys(column for _, change, *_ in alive if change.before is not None for column in change.changed)
    for _column in list(moved)[:12]:
        for (_, _value), _run in itertools.groupby(
            alive, lambda state, at=_column: (state[0], state[1].values.get(at))
        ):
            bars.append(bar(_column, cell(_value), list(_run)))
    lanes = list(dict.fromkeys(one["lane"] for one in bars))
    # A text is written where its span has room for it, on an axis of this width.
    width_pixels, letter_pixels = 720, 7
    _first = min((state[2] for state in alive), default=held)
    shown_seconds = max((held - _first).total_seconds(), 1e-6)
    scale = width_pixels / shown_seconds
    dated = "%H:%M:%S" if shown_seconds < 86_400 else "%Y-%m-%d %H:%M"
    for _one in bars:
        room = int(_one["seconds"] * scale / letter_pixels) - 1
        _one["text"] = (
            _one["value"] if len(_one["value"]) <= room else _one["value"][: room - 1] + "…" if room > 3 else ""
        )

    base = alt.Chart(alt.Data(values=bars), width=width_pixels, height=alt.Step(28)).encode(
        x=alt.X(
            "begin:T",
            axis=alt.Axis(format=dated, tickCount=6),
            title=f"source time, {where}; up to {local(held)}",
            scale=alt.Scale(type="utc"),
        ),
        y=alt.Y("lane:N", title=None, sort=lanes, axis=alt.Axis(labelLimit=160)),
        tooltip=["lane:N", "value:N", "from:N", "to:N", "what:N", "who:N", "why:N", "lsn:N"],
    )
    colours = alt.Scale(domain=["insert", "update", "copy"], range=["#7fc8a9", "#8fb8de", "#c9c9c9"])
    drawing = alt.layer(
        base.mark_bar(stroke="white", height=20).encode(
            x2="end:T", color=alt.Color("op:N", scale=colours, legend=alt.Legend(title="begun by", orient="top"))
        ),
        base.mark_tick(color="#333333", thickness=2, height=20),  # a span too short to be seen has its beginning
        base.mark_text(align="left", dx=5, baseline="middle").encode(text="text:N"),
    )
    _listed = [{name: one[name] for name in ("from", "to", "op", "what", "who", "why", "lsn")} for one in spans]
    mo.vstack(
        [
            mo.ui.altair_chart(drawing, chart_selection=False, legend_selection=False)
            if bars
            else mo.md("Never seen."),
            mo.ui.table(_listed, selection=None, show_data_types=False, wrapped_columns=["what", "why"]),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
