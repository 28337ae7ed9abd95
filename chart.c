/* chart.c - charts as SVG, written into a page of HTML.
 *
 *     Page page = {.result = 0};
 *     page_begin(&page, "two runs");
 *     Chart c = chart_begin(&page, "loss", (Axis){"step", 1, 60}, (Axis){"loss", 0, 0.7});
 *     chart_line(&c, 0, step, loss, n);               // 0: the style, a dash and a colour
 *     chart_end(&c);
 *     chart_legend(&page, 0, "more");
 *     figure_end(&page);
 *     page_end(&page);                                // then page.text, if page.result is 0
 *
 * A page keeps an error (of memory); what follows is of no use then.  Lines differ by their dashes
 * and points by their form, so that nothing is said by colour alone; text and axes take the
 * reader's own colours, dark on light or light on dark, and black on paper.  data-x and data-y of
 * a chart say what its axes span, so that a picture can be checked against its data.             */
#ifndef CHART_C
#define CHART_C
#include "common.h"

enum { CHART_STYLES = 8 };

typedef struct {
    Buffer text;
    int result;                         // 0, or -1 after fail()
} Page;

typedef struct {
    const char *name;
    double low, high;
} Axis;

typedef struct {
    Page *page;
    Axis x, y;
    double width, height;               // of the plot, in pixels
} Chart;

void  page_begin(Page *p, const char *title);
void  page_end(Page *p);
void  page_put(Page *p, const char *format, ...) PRINTF_LIKE(2, 3);
void  page_words(Page *p, const char *words);                       // as HTML has &, < and >

Chart chart_begin(Page *p, const char *title, Axis x, Axis y);
void  chart_end(Chart *c);
void  figure_end(Page *p);
void  chart_line(Chart *c, int style, const double *x, const double *y, int n);
void  chart_points(Chart *c, int style, const double *x, const double *y, int n);
void  chart_interval(Chart *c, int style, double x, double low, double high);
void  chart_span(Chart *c, int style, double y, double low, double high);
void  chart_bar(Chart *c, int style, double x0, double x1, double y0, double y1);
void  chart_rule(Chart *c, double x0, double y0, double x1, double y1);
void  chart_label(Chart *c, double x, double y, const char *words);
void  chart_legend(Page *p, int style, const char *words);
void  axis_include(Axis *a, double value);                          // makes room for it
void  axis_round(Axis *a);                                          // up to whole ticks

// ------------------------------------------------------------------------------------------ a page

void page_put(Page *p, const char *format, ...) {
    char line[2000];                    // no piece is as long
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert(n >= 0 && n < (int)sizeof line);
    if (buffer_append(&p->text, line, (size_t)n) < 0) p->result = -1;
}

void page_words(Page *p, const char *words) {
    for (; *words; words++) {
        if (*words == '&') page_put(p, "&amp;");
        else if (*words == '<') page_put(p, "&lt;");
        else if (*words == '>') page_put(p, "&gt;");
        else if (*words == '"') page_put(p, "&quot;");
        else page_put(p, "%c", *words);
    }
}

// The eight styles: Okabe and Ito's colours, which people who do not see all colours can tell
// apart, each with a dash and a form of its points.
static const struct { const char *light, *dark, *dash, *mark; } chart_styles[CHART_STYLES] = {
    {"#0072b2", "#56b4e9", "none", "circle"},
    {"#d55e00", "#ff9d5c", "7 3", "square"},
    {"#00745a", "#3fd0a4", "2 3", "triangle"},
    {"#a8447c", "#e39bc6", "9 3 2 3", "diamond"},
    {"#000000", "#ffffff", "1 2", "cross"},
    {"#7a6a00", "#f0e442", "12 4", "circle"},
    {"#3c6e9e", "#9ac7ee", "5 2 1 2 1 2", "square"},
    {"#6b6b6b", "#bbbbbb", "3 6", "triangle"},
};

static void put_styles(Page *p, int dark) {
    for (int k = 0; k < CHART_STYLES; k++) {
        page_put(p, "--s%d:%s;", k, dark ? chart_styles[k].dark : chart_styles[k].light);
    }
}

void page_begin(Page *p, const char *title) {
    page_put(p, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    page_words(p, title);
    page_put(p, "</title>\n<style>\n:root{color-scheme:light dark;--ink:#1c1c1c;--paper:#fff;"
             "--faint:#8a8a8a;--grid:#e4e4e4;");
    put_styles(p, 0);
    page_put(p, "}\n@media (prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#161616;"
             "--faint:#909090;--grid:#333;");
    put_styles(p, 1);
    page_put(p, "}}\n@media print{:root{--ink:#000;--paper:#fff;--faint:#555;--grid:#ddd;");
    put_styles(p, 0);
    page_put(p, "}figure{break-inside:avoid}}\nbody{font:15px/1.5 system-ui,sans-serif;"
             "max-width:1060px;margin:2em auto;padding:0 1em;color:var(--ink);"
             "background:var(--paper)}\nfigure{display:inline-block;margin:0 1.2em 1.2em 0;"
             "vertical-align:top}\nfigcaption{font-size:13px;max-width:480px}\n"
             "figure svg{max-width:100%%;height:auto}\n"
             "svg text{font:12px system-ui,sans-serif;fill:var(--ink)}\n"
             "svg .label{paint-order:stroke;stroke:var(--paper);stroke-width:3px}\n"
             "svg .title{font-size:14px;font-weight:600}\nsvg .grid{stroke:var(--grid)}\n"
             "svg .axis,svg .rule{stroke:var(--faint);fill:none}\nsvg .rule{stroke-dasharray:4 4}\n"
             "svg .line{fill:none;stroke-width:1.8}\ntable{border-collapse:collapse;"
             "display:block;overflow-x:auto;margin:0 0 1.2em;font-size:13px}"
             "td,th{padding:1px 10px;text-align:right}"
             "th:first-child,td:first-child{text-align:left}\n");
    for (int k = 0; k < CHART_STYLES; k++) {
        page_put(p, ".line.s%d{stroke:var(--s%d);stroke-dasharray:%s}.mark.s%d{stroke:var(--s%d);"
                 "fill:%s}.bar.s%d{fill:var(--s%d);fill-opacity:%s;stroke:var(--s%d)}\n", k, k,
                 chart_styles[k].dash, k, k, k % 2 ? "var(--paper)" : "currentcolor", k, k,
                 k % 2 ? ".15" : ".7", k);
        page_put(p, ".mark.s%d,.error.s%d{color:var(--s%d);stroke:var(--s%d);stroke-width:1.5}\n",
                 k, k, k, k);
    }
    page_put(p, "</style>\n</head>\n<body>\n<h1>");
    page_words(p, title);
    page_put(p, "</h1>\n");
}

void page_end(Page *p) { page_put(p, "</body>\n</html>\n"); }

// -------------------------------------------------------------------------------------------- axes

// A value that is no number, or that is beyond 1e100, has no place on a chart.
static int has_place(double value) { return fabs(value) <= 1e100; }

void axis_include(Axis *a, double value) {
    if (!has_place(value)) return;
    if (!(a->low <= value)) a->low = value;
    if (!(a->high >= value)) a->high = value;
}

// 1, 2 or 5 times a power of ten: the distance of about so many ticks.  high is above low.
static double tick_step(const Axis *a, int ticks) {
    const double rough = (a->high - a->low) / ticks;
    double step = 1;
    while (step > rough) step /= 10;
    while (step * 10 <= rough) step *= 10;
    if (step * 5 <= rough) return step * 5;
    return step * 2 <= rough ? step * 2 : step;
}

// An axis of nothing, or of one value, gets a length.
void axis_round(Axis *a) {
    if (!isfinite(a->low) || !isfinite(a->high)) *a = (Axis){a->name, 0, 1};
    if (a->high - a->low <= fmax(1e-100, 1e-9 * fmax(fabs(a->low), fabs(a->high)))) {
        const double half = fabs(a->low) < 1e-90 ? 0.5 : 0.1 * fabs(a->low);
        a->low -= half;
        a->high += half;
    }
    const double step = tick_step(a, 5);
    a->low = floor(a->low / step + 1e-9) * step;
    a->high = ceil(a->high / step - 1e-9) * step;
}

// ----------------------------------------------------------------------------------------- a chart

enum { MARGIN_LEFT = 76, MARGIN_TOP = 30, MARGIN_RIGHT = 14, MARGIN_BOTTOM = 44, PLOT_WIDTH = 400,
       PLOT_HEIGHT = 210, CHART_WIDTH = MARGIN_LEFT + PLOT_WIDTH + MARGIN_RIGHT,
       CHART_HEIGHT = MARGIN_TOP + PLOT_HEIGHT + MARGIN_BOTTOM };

static double pixel_x(const Chart *c, double x) {
    return MARGIN_LEFT + (x - c->x.low) / (c->x.high - c->x.low) * c->width;
}
static double pixel_y(const Chart *c, double y) {
    return MARGIN_TOP + (c->y.high - y) / (c->y.high - c->y.low) * c->height;
}

// The first tick, and the value of a tick: none is nearly zero.
static double first_tick(const Axis *a, double step) {
    return ceil(a->low / step - 1e-9) * step;
}
static double tick_value(double t, double step) { return fabs(t) < 1e-9 * step ? 0 : t; }

// How many characters the longest label of an axis has.
static int longest_label(const Axis *a, double step) {
    int longest = 0;
    for (double t = first_tick(a, step); t <= a->high + 1e-9 * step; t += step) {
        longest = max_int(longest, snprintf(NULL, 0, "%.6g", tick_value(t, step)));
    }
    return longest;
}

// Labels side by side need some 7 pixels a character, and a space: every second tick, or fourth.
static double apart(const Chart *c, double step) {
    const double pixels = c->width / (c->x.high - c->x.low);
    while (step * pixels < 7 * longest_label(&c->x, step) + 6) step *= 2;
    return step;
}

static void put_ticks(const Chart *c, int vertical) {
    const Axis *a = vertical ? &c->y : &c->x;
    const double bottom = MARGIN_TOP + c->height;
    double step = tick_step(a, 5);
    if (!vertical) step = apart(c, step);
    for (double t = first_tick(a, step); t <= a->high + 1e-9 * step; t += step) {
        const double value = tick_value(t, step);
        if (vertical) {
            const double y = pixel_y(c, value);
            page_put(c->page, "<line class=\"grid\" x1=\"%d\" x2=\"%.1f\" y1=\"%.1f\" "
                     "y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n",
                     MARGIN_LEFT, MARGIN_LEFT + c->width, y, y, MARGIN_LEFT - 6, y + 4, value);
        } else {
            page_put(c->page, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.6g</text>\n",
                     pixel_x(c, value), bottom + 16, value);
        }
    }
}

// A figure with axes from low to high, which the caller has rounded (axis_round); then come what is
// in it, chart_end, its caption, figure_end.
Chart chart_begin(Page *p, const char *title, Axis x, Axis y) {
    Chart c = {.page = p, .x = x, .y = y, .width = PLOT_WIDTH, .height = PLOT_HEIGHT};
    const double right = MARGIN_LEFT + c.width, bottom = MARGIN_TOP + c.height;
    page_put(p, "<figure>\n<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%d\" "
             "height=\"%d\" viewBox=\"0 0 %d %d\" data-x=\"%.9g %.9g\" data-y=\"%.9g %.9g\">\n"
             "<text class=\"title\" x=\"%d\" y=\"18\">", CHART_WIDTH, CHART_HEIGHT, CHART_WIDTH,
             CHART_HEIGHT, x.low, x.high, y.low, y.high, MARGIN_LEFT);
    page_words(p, title);
    page_put(p, "</text>\n");
    put_ticks(&c, 0);
    put_ticks(&c, 1);
    page_put(p, "<path class=\"axis\" d=\"M%d %d V%.1f H%.1f\"/>\n<text x=\"%.1f\" y=\"%.1f\" "
             "text-anchor=\"middle\">", MARGIN_LEFT, MARGIN_TOP, bottom, right,
             (MARGIN_LEFT + right) / 2, bottom + 36);
    page_words(p, x.name);
    page_put(p, "</text>\n<text transform=\"translate(14 %.1f) rotate(-90)\" "
             "text-anchor=\"middle\">", (MARGIN_TOP + bottom) / 2);
    page_words(p, y.name);
    page_put(p, "</text>\n");
    return c;
}

// The picture ends; the caption begins.
void chart_end(Chart *c) { page_put(c->page, "</svg>\n<figcaption>"); }

void figure_end(Page *p) { page_put(p, "</figcaption>\n</figure>\n"); }

// A line through n points; it breaks where one has no place.
void chart_line(Chart *c, int style, const double *x, const double *y, int n) {
    int open = 0;
    page_put(c->page, "<path class=\"line s%d\" d=\"", style % CHART_STYLES);
    for (int i = 0; i < n; i++) {
        const int there = has_place(x[i]) && has_place(y[i]);
        if (there) {
            page_put(c->page, "%s%.2f %.2f", open ? " L" : " M", pixel_x(c, x[i]),
                     pixel_y(c, y[i]));
        }
        open = there;
    }
    page_put(c->page, "\"/>\n");
}

static void put_mark(Page *p, int style, double x, double y, const char *words) {
    const char *mark = chart_styles[style].mark;
    page_put(p, "<path class=\"mark s%d\" d=\"M%.2f %.2f ", style, x, y);
    if (!strcmp(mark, "circle"))   page_put(p, "m-3.5 0 a3.5 3.5 0 1 0 7 0 a3.5 3.5 0 1 0 -7 0");
    if (!strcmp(mark, "square"))   page_put(p, "m-3.2 -3.2 h6.4 v6.4 h-6.4 z");
    if (!strcmp(mark, "triangle")) page_put(p, "m0 -4 l4 7 h-8 z");
    if (!strcmp(mark, "diamond"))  page_put(p, "m0 -4.5 l4.5 4.5 l-4.5 4.5 l-4.5 -4.5 z");
    if (!strcmp(mark, "cross"))    page_put(p, "m-3.5 -3.5 l7 7 m0 -7 l-7 7");
    page_put(p, "\"><title>%s</title></path>\n", words);
}

void chart_points(Chart *c, int style, const double *x, const double *y, int n) {
    for (int i = 0; i < n; i++) {
        char words[64];
        if (!has_place(x[i]) || !has_place(y[i])) continue;
        snprintf(words, sizeof words, "%.6g, %.6g", x[i], y[i]);
        put_mark(c->page, style % CHART_STYLES, pixel_x(c, x[i]), pixel_y(c, y[i]), words);
    }
}

// A vertical interval at x, and a horizontal one at y.
void chart_interval(Chart *c, int style, double x, double low, double high) {
    if (!has_place(x) || !has_place(low) || !has_place(high)) return;
    page_put(c->page, "<path class=\"error s%d\" d=\"M%.2f %.2f V%.2f\"/>\n", style % CHART_STYLES,
             pixel_x(c, x), pixel_y(c, low), pixel_y(c, high));
}
void chart_span(Chart *c, int style, double y, double low, double high) {
    if (!has_place(y) || !has_place(low) || !has_place(high)) return;
    page_put(c->page, "<path class=\"error s%d\" d=\"M%.2f %.2f H%.2f\"/>\n", style % CHART_STYLES,
             pixel_x(c, low), pixel_y(c, y), pixel_x(c, high));
}

void chart_bar(Chart *c, int style, double x0, double x1, double y0, double y1) {
    if (!has_place(y0) || !has_place(y1)) return;
    page_put(c->page, "<rect class=\"bar s%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
             "height=\"%.2f\"><title>%.6g</title></rect>\n", style % CHART_STYLES, pixel_x(c, x0),
             pixel_y(c, y1), pixel_x(c, x1) - pixel_x(c, x0), pixel_y(c, y0) - pixel_y(c, y1),
             y1 - y0);
}

void chart_rule(Chart *c, double x0, double y0, double x1, double y1) {
    page_put(c->page, "<path class=\"rule\" d=\"M%.2f %.2f L%.2f %.2f\"/>\n", pixel_x(c, x0),
             pixel_y(c, y0), pixel_x(c, x1), pixel_y(c, y1));
}

void chart_label(Chart *c, double x, double y, const char *words) {
    if (!has_place(x) || !has_place(y)) return;
    page_put(c->page, "<text class=\"label\" x=\"%.2f\" y=\"%.2f\">", pixel_x(c, x) + 6,
             pixel_y(c, y) - 5);
    page_words(c->page, words);
    page_put(c->page, "</text>\n");
}

// In a figure's caption: a piece of the line with its mark, and what it is.
void chart_legend(Page *p, int style, const char *words) {
    const int k = style % CHART_STYLES;
    page_put(p, "<svg width=\"40\" height=\"12\"><path class=\"line s%d\" d=\"M1 6 H39\"/>", k);
    put_mark(p, k, 20, 6, "");
    page_put(p, "</svg> ");
    page_words(p, words);
    page_put(p, " &nbsp; ");
}
#endif
