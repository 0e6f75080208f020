"""Look at one table of a lake at two moments, at what changed between them, and at one row's life.

    uv run marimo run notebooks/time_travel.py                                    the lake of ./rireki.toml
    uv run marimo run notebooks/time_travel.py -- --lake file:///folder --table app.users --key 42

A lake on S3 takes its keys from ``AWS_*``, as everywhere. Reads only.
"""

import marimo

app = marimo.App(width="medium", app_title="Time travel")


@app.cell
def opened():
    import os

    import altair as alt
    import marimo as mo
    import polars as pl

    from cdc import relation
    from lakehouse.lake import Lake
    from lakehouse.root import LakeRoot
    from pipelines.config import load

    asked = mo.cli_args()
    if asked.get("lake"):
        keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        root = LakeRoot(str(asked.get("lake")), keys)
    else:
        root = load().lake_root()
    lake = Lake.open(root)
    return alt, asked, lake, mo, pl, relation


@app.cell
def moments(asked, lake, mo):
    cuts = lake.sql("SELECT cut_lsn, source_time FROM rireki.cuts ORDER BY cut_lsn").arrow.to_pylist()
    told = {f"{cut['source_time']:%Y-%m-%d %H:%M:%S.%f} UTC": cut["source_time"].isoformat() for cut in cuts}
    names = [str(name) for name in lake.tables()]
    table = mo.ui.dropdown(names, value=str(asked.get("table") or names[0]), label="table")
    earlier = mo.ui.dropdown(told, value=next(iter(told)), label="earlier cut")
    later = mo.ui.dropdown(told, value=list(told)[-1], label="later cut")
    typed = mo.ui.text(label="or a time or LSN instead of the later cut", placeholder="2026-10-01 09:00+09:00")
    mo.vstack([mo.md(f"# Time travel\n`{lake.root.url}`"), table, earlier, later, typed])
    return earlier, later, table, typed


@app.cell
def states(earlier, lake, later, mo, relation, table, typed):
    name = relation.TableName.parse(table.value)
    points = [lake.at(earlier.value), lake.at(typed.value or later.value)]
    before, after = (lake.rows(name, point).collect() for point in points)

    def verdict(point):
        return f"{'complete' if point.complete else '**not complete**'} to `{point.lsn}` at {point.source_time}"

    mo.vstack(
        [
            mo.md(f"## Then\n{name}: {before.height} rows; {verdict(points[0])}"),
            mo.ui.table(before.to_dicts(), selection=None),
            mo.md(f"## Later\n{name}: {after.height} rows; {verdict(points[1])}"),
            mo.ui.table(after.to_dicts(), selection=None),
        ]
    )
    return after, before, name


@app.cell
def difference(after, before, mo, pl):
    # A row version's values and its commit say all of it: equal in both is unchanged.
    common = [column for column in after.columns if column in before.columns]
    gone = before.select(common).join(after.select(common), on=common, how="anti", nulls_equal=True)
    came = after.select(common).join(before.select(common), on=common, how="anti", nulls_equal=True)
    changed = pl.concat([gone.with_columns(side=pl.lit("− then")), came.with_columns(side=pl.lit("+ later"))])
    changed = changed.select("side", *common).sort(common[0], "side", descending=[False, True])
    mo.vstack(
        [
            mo.md(f"## Between\n{gone.height} row versions ended, {came.height} began"),
            mo.ui.table(changed.to_dicts(), selection=None),
        ]
    )
    return


@app.cell
def key_asked(after, asked, mo):
    first = "" if after.is_empty() else str(after[after.columns[0]][0])
    key = mo.ui.text(value=str(asked.get("key") or first), label="key")
    mo.vstack([mo.md("## One row's life"), key])
    return (key,)


@app.cell
def life(alt, key, lake, mo, name, pl):
    changes = [
        {
            "life": str(change.life),
            "time": change.committed_at,
            "op": change.op,
            "lsn": str(change.lsn),
            "actor": change.who.actor,
            "reason": change.who.reason,
            "values": str(dict(change.values)) if change.values else "",
        }
        for change in lake.trace(name, key.value)
    ]
    mo.stop(not changes, mo.md(f"No row of {name} ever had the key `{key.value}`."))
    frame = pl.DataFrame(changes, infer_schema_length=None)
    chart = (
        alt.Chart(alt.Data(values=changes), height=80 + 40 * frame["life"].n_unique(), width=600)
        .mark_point(size=160, filled=True)
        .encode(
            x=alt.X("time:T", title="source time, UTC", scale=alt.Scale(type="utc")),
            y=alt.Y("life:N", title="life"),
            color=alt.Color("op:N", legend=alt.Legend(orient="bottom")),
            tooltip=["time:N", "op:N", "actor:N", "reason:N", "lsn:N", "values:N"],
        )
    )
    mo.vstack(
        [mo.ui.altair_chart(chart, chart_selection=False, legend_selection=False), mo.ui.table(changes, selection=None)]
    )
    return


if __name__ == "__main__":
    app.run()
