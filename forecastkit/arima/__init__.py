"""The ARIMA family on whole panels: exact maximum likelihood in compiled code, on arrays.

polynomials, orders    lag polynomials as filters, stable coordinates, the layout of coefficients
initial                the unknown past of a process and its covariance
likelihood             the exact likelihood with gradient; regression and missing values inside
chandrasekhar          the same for long lags
optimiser              where a climb begins, and how it goes on
preparation            from a series to the columns of the likelihood
estimation             one row of numbers a series
forecasting            means, spreads and joint covariances from such a row
panel                  all of this over a panel, in threads
forecaster, summary    what `arima`, `sarima` and `auto_arima` have in common; what a fitted one tells
linking, linear, lanes   kernels that are called by name; small matrices, in vector code
stl, differences, search, boxcox   tests for differences, the search for orders, transforms

docs/arima.md has the method and its sources on one page.
"""
