# A picture of sizes.txt, lines "data model n seed accuracy loss" (scripts/domain.sh): accuracy by how many pairs were
# trained on, a panel for each kind of data; a bar is one standard deviation over seeds to either side.
{
    if (!($1 in panel)) { panel[$1] = ++panels; data[panels] = $1 }
    key = $1 SUBSEP $2
    if (!(key in seen)) { seen[key] = 1; model[$1, ++models[$1]] = $2 }
    n[key, $3]++
    a[key, $3] += 100 * $5
    aa[key, $3] += 1e4 * $5 * $5
    sized[$3] = 1
}
function x(at, size) { return 70 + 420 * (at - 1) + 330 * log(size / 100) / log(8) }
function y(accuracy) { return 40 + 260 * (90 - accuracy) / 30 }
END {
    split("100 200 400 800", size, " ")
    dash[1] = "none"; dash[2] = "6 4"; dash[3] = "2 3"
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 358\" font-family=\"sans-serif\" font-size=\"13\">"
    print "<style>svg { background: #fff } text { fill: #222 } .grid { stroke: #ddd } .line { fill: none; stroke: #222;"
    print "stroke-width: 2 } .bar { stroke: #888 } .axis { fill: #666; font-size: 11px }</style>"
    for (p = 1; p <= panels; p++) {
        title = data[p] == "scores" ? "seven scores of a language model, 140 pairs" : "the texts themselves, 99 pairs"
        printf "<text x=\"%d\" y=\"22\">%s</text>\n", x(p, 100), title
        for (g = 60; g <= 90; g += 10) {
            printf "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x(p, 100), y(g), x(p, 800), y(g)
            printf "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n", x(p, 100) - 8, y(g) + 4, g
        }
        for (i = 1; i <= 4; i++) {
            printf "<text class=\"axis\" x=\"%.1f\" y=\"318\" text-anchor=\"middle\">%d</text>\n", x(p, size[i]), size[i]
        }
        for (m = 1; m <= models[data[p]]; m++) {
            name = model[data[p], m]
            key = data[p] SUBSEP name
            points = ""
            for (i = 1; i <= 4; i++) {
                k = n[key, size[i]]
                mean = a[key, size[i]] / k
                v = k > 1 ? (aa[key, size[i]] - k * mean * mean) / (k - 1) : 0
                s = v > 0 ? sqrt(v) : 0
                points = points sprintf("%.1f,%.1f ", x(p, size[i]), y(mean))
                printf "<line class=\"bar\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", \
                    x(p, size[i]) + 3 * m - 6, y(mean - s), x(p, size[i]) + 3 * m - 6, y(mean + s)
            }
            printf "<polyline class=\"line\" stroke-dasharray=\"%s\" points=\"%s\"/>\n", dash[m], points
            printf "<line class=\"line\" stroke-dasharray=\"%s\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", dash[m], \
                x(p, 100) + 110 * (m - 1), 340, x(p, 100) + 110 * (m - 1) + 34, 340
            label = name == "texts" ? "reward model" : name
            printf "<text x=\"%.1f\" y=\"344\">%s</text>\n", x(p, 100) + 110 * (m - 1) + 40, label
        }
    }
    print "</svg>"
}
