# people_figure.awk - draws what make people found, as SVG on standard output: left, which type each annotator belongs
# to after each iteration of EM; right, the regret of each type under each way of deploying the policies.
#
# Usage: awk -f scripts/people_figure.awk people.json GROUPS.json [mixture.json] > people.svg
#
# The files are those that `more train em` and `more regret` wrote, and {"annotator": "hidden group", ...}, one a line,
# which colours the lines.

# people.json: an iteration, its responsibilities [[type 1, type 2 ..], ..] in the order of the people, their names
/^\{"start":1,/ {
    iteration = $0
    sub(/.*"iteration":/, "", iteration)
    iteration += 0
    last = iteration
}
/^"gamma":\[\[/ && iteration {
    n = split($0, row, "[[]")
    for (i = 3; i <= n; i++) gamma[i - 2, iteration] = row[i] + 0
    iteration = 0
}
/^\{"annotator":"/ {
    split($0, part, "\"")
    annotator[++annotators] = part[4]
    is_annotator[part[4]] = 1
}

# the hidden groups
/^ *"[^"]*": *"[^"]*",?$/ {
    split($0, part, "\"")
    if (!(part[2] in is_annotator)) next
    if (!(part[4] in colour)) { colour[part[4]] = ++groups; group_name[groups] = part[4] }
    of_group[part[2]] = part[4]
}

# mixture.json: {"name":NAME,...,"regret":[type 1, type 2 ..],...
/^\{"name":"/ && /"regret":\[/ {
    split($0, part, "\"")
    name[++rows] = part[4]
    list = $0
    sub(/.*"regret":\[/, "", list)
    sub(/\].*/, "", list)
    types = split(list, value, ",")
    for (k = 1; k <= types; k++) {
        regret[rows, k] = value[k]
        if (value[k] > most) most = value[k]
        if (value[k] < least) least = value[k]
    }
}

function text(x, y, class, s) {
    gsub(/&/, "\\&amp;", s)
    gsub(/</, "\\&lt;", s)
    printf "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, class, s
}
function line(x1, y1, x2, y2, class) {
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class
}

function at(k) { return left + width * (k - 1) / (last > 1 ? last - 1 : 1) }

# responsibilities: x is the iteration, y is gamma
function draw_gamma(    i, k, x, y, top, height, class) {
    left = 70; width = 300; top = 70; height = 260
    text(left - 46, 34, "b", "Who belongs to type 1?")
    text(left - 46, 52, "dim", "responsibility of each annotator, after each iteration")
    for (k = 0; k <= 4; k++) {
        y = top + height * (1 - k / 4)
        line(left, y, left + width, y, "rule")
        text(left - 8, y + 4, "dim end", k / 4)
    }
    for (k = 1; k <= last; k++) text(at(k), top + height + 20, "dim mid", k)
    for (i = 1; i <= annotators; i++) {
        class = "g" (colour[of_group[annotator[i]]] + 0)
        printf "<polyline class=\"%s\" points=\"", class
        for (k = 1; k <= last; k++) {
            x = at(k)
            y = top + height * (1 - gamma[i, k])
            printf "%.1f,%.1f ", x, y
        }
        print "\"/>"
    }
    text(left + width / 2, top + height + 40, "dim mid", "iteration")
    for (k = 1; k <= groups; k++) {
        x = left + 130 * (k - 1)
        line(x, top + height + 58, x + 18, top + height + 58, "g" k)
        text(x + 24, top + height + 62, "dim", group_name[k])
    }
}

# regrets: a group of bars for each policy
function draw_regrets(    i, k, y, zero, top, step, scale) {
    left = 560; width = 270; top = 70; step = 260 / (rows ? rows : 1)
    scale = (most > least) ? width / (most - least) : 0
    zero = left - least * scale
    text(left - 140, 34, "b", "What does each type lose?")
    text(left - 140, 52, "dim", "regret of each type, by what is deployed")
    for (i = 1; i <= rows; i++) {
        y = top + step * (i - 1)
        text(left - 10, y + step / 2 + 4, "end", name[i])
        for (k = 1; k <= types; k++) {
            bar(zero, y + step * (0.15 + 0.7 * (k - 1) / types), regret[i, k] * scale, 0.7 * step / types - 1, k)
        }
    }
    line(zero, top, zero, top + 260, "rule")
    for (k = 1; k <= types; k++) {
        bar(left + 90 * (k - 1), top + 312, 12, 12, k)
        text(left + 90 * (k - 1) + 18, top + 322, "dim", "type " k)
    }
}
function bar(x, y, long, high, k) {
    if (long < 0) { x += long; long = -long }
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"t%d\"/>\n", x, y, long, high, k
}

END {
    wide = rows ? 860 : 410
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d 410\" width=\"%d\"", wide, wide
    print " height=\"410\" role=\"img\">"
    print "<title>The types of annotators that EM found</title>"
    print "<style>"
    print "  text { font: 13px -apple-system, \"Segoe UI\", \"DejaVu Sans\", Helvetica, Arial, sans-serif; fill: #1f2328 }"
    print "  .b { font-weight: 600; font-size: 14px } .dim { fill: #59636e; font-size: 12px }"
    print "  .mid { text-anchor: middle } .end { text-anchor: end }"
    print "  .ground { fill: #ffffff; stroke: #d1d9e0 } .rule { stroke: #d1d9e0 }"
    print "  .g0, .g1, .g2, .g3, .g4 { fill: none; stroke: #818b98; stroke-width: 1.3; stroke-opacity: 0.6 }"
    print "  .g1 { stroke: #0969da } .g2 { stroke: #bc4c00 } .g3 { stroke: #1a7f37 } .g4 { stroke: #8250df }"
    print "  .t1 { fill: #0969da } .t2 { fill: #bc4c00 } .t3 { fill: #1a7f37 } .t4 { fill: #8250df }"
    print "  @media (prefers-color-scheme: dark) {"
    print "    text { fill: #f0f6fc } .dim { fill: #9198a1 }"
    print "    .ground { fill: #0d1117; stroke: #3d444d } .rule { stroke: #3d444d }"
    print "    .g1 { stroke: #58a6ff } .g2 { stroke: #f0883e } .t1 { fill: #58a6ff } .t2 { fill: #f0883e }"
    print "  }"
    print "</style>"
    printf "<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"409\" rx=\"6\"/>\n", wide - 1
    draw_gamma()
    if (rows) draw_regrets()
    print "</svg>"
}
