# Accuracy and loss by how many pairs were trained on: means over seeds and their standard deviations, of lines
# "data model n seed accuracy loss" (scripts/domain.sh).
{
    key = $1 " " $2
    if (!(key in seen)) { seen[key] = 1; order[++keys] = key }
    if (!($3 in sized)) { sized[$3] = 1; size[++sizes] = $3 }
    n[key, $3]++
    a[key, $3] += $5; aa[key, $3] += $5 * $5
    l[key, $3] += $6
}
function sd(sum, square, n,    v) {
    v = n > 1 ? (square - sum * sum / n) / (n - 1) : 0
    return v > 0 ? sqrt(v) : 0
}
END {
    printf "Accuracy %% (standard deviation over seeds), loss, by how many pairs were trained on\n%-16s", ""
    for (i = 1; i <= sizes; i++) printf "  %-18s", size[i]
    printf "  seeds\n"
    for (k = 1; k <= keys; k++) {
        key = order[k]
        printf "%-16s", key
        for (i = 1; i <= sizes; i++) {
            m = n[key, size[i]]
            printf "  %4.1f (%3.1f) %6.4f ", 100 * a[key, size[i]] / m, 100 * sd(a[key, size[i]], aa[key, size[i]], m), \
                l[key, size[i]] / m
        }
        printf "  %d\n", n[key, size[1]]
    }
}
