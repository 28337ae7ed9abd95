"""Fits the polynomials of common.h: weighted least squares on Chebyshev points, iterated towards minimax
(Lawson's weights), leading coefficients rounded to binary32 one after the other so that the rest absorbs the error.
Needs numpy and mpmath.  Usage: python3 scripts/fit_polynomials.py"""
import numpy as np, mpmath as mp
mp.mp.dps = 40

def fit(f, lo, hi, degree, weight, n=2001):
    """coefficients c[0..degree] of sum c_k x^k that approximates f, |weight * error| nearly minimax"""
    lo, hi = float(lo), float(hi)
    x = 0.5*(lo + hi) + 0.5*(hi - lo)*np.cos(np.pi*(np.arange(n) + .5)/n)
    y = np.array([float(f(mp.mpf(float(v)))) for v in x]); w = np.array([float(weight(mp.mpf(float(v)))) for v in x])
    c = [None]*(degree + 1); left = list(range(degree + 1)); rest = y.copy()
    while left:
        lawson = np.ones(n)/n
        for _ in range(60):
            a = np.stack([x**k for k in left], 1)
            s = np.sqrt(lawson)*w
            sol = np.linalg.lstsq(a*s[:, None], rest*s, rcond=None)[0]
            e = np.abs((a @ sol - rest)*w); lawson = lawson*e; lawson /= lawson.sum()
        k = left.pop(0); c[k] = float(np.float32(sol[0])); rest = rest - c[k]*x**k
    full = sum(c[k]*x**k for k in range(degree + 1))
    return c, np.max(np.abs((full - y)*w))

def show(name, c, err):
    print(f"{name}: weighted error {err:.2e}")
    for k, v in reversed(list(enumerate(c))): print(f"    c{k} {float(v).hex()}f")

# exp(r) = 1 + r + r^2 q(r)
h = mp.log(2)/2*mp.mpf('1.002')
show("exp q", *fit(lambda r: (mp.exp(r) - 1 - r)/r**2 if abs(r) > 1e-6 else mp.mpf(1)/2 + r/6, -h, h, 4, lambda r: r*r))
# erf(x) = x + x p(x^2), |x| < 1
show("erf p", *fit(lambda s: mp.erf(mp.sqrt(s))/mp.sqrt(s) - 1 if s > 1e-12 else 2/mp.sqrt(mp.pi) - 1 - 2/mp.sqrt(mp.pi)*s/3, 0, 1, 6, lambda s: 1))
# erf(x) = 1 - exp(q(x)), 1 <= x <= 4
show("erfc q", *fit(lambda t: mp.log(mp.erfc(t)), 1, 4, 7, lambda t: mp.erfc(t)))
# tanh(x) = x + x^3 p(x^2), |x| < 0.625
show("tanh p", *fit(lambda s: (mp.tanh(mp.sqrt(s)) - mp.sqrt(s))/mp.sqrt(s)**3 if s > 1e-8 else -mp.mpf(1)/3 + 2*s/15, 0, mp.mpf('0.390625'), 4, lambda s: s))
