# Answers of R for the page docs/from_r.md, whose data both languages make alike.
#
#   Rscript tests/known_answers/make_from_r.R
#
# in the root of the repository writes from_r.json (needs flexmix and mixtools).
suppressMessages({library(flexmix); library(mixtools)})

i <- 1:200
spread <- function(step) (i * step) %% 1
x <- 4 * spread(0.8566749) - 2
w <- 4 * spread(0.7338919) - 2
first <- spread(0.6287068) < plogis(w)
y <- ifelse(first, 1 + 2 * x, 3 - x) + 0.5 * qnorm(spread(0.5385974))
n <- qpois(spread(0.5385974), exp(ifelse(first, 1.5 + 0.5 * x, 0.5 - 0.5 * x)))
z <- ifelse(spread(0.4614049) < 0.3, 0, qpois(spread(0.5385974), exp(1 + 0.5 * x)))
d <- data.frame(x, w, y, n, z)

subject <- (i - 1) %/% 5 + 1
time <- (i - 1) %% 5
fast <- (subject * 0.6180340) %% 1 < 0.4
p <- data.frame(subject, time, w = (subject * 0.7320508) %% 1,
                y = 10 + ifelse(fast, 2, 0.5) * time + 1.5 * qnorm(spread(0.5385974)))

# The best of ten starts; small components are kept, as elsewhere.
control <- list(iter.max = 5000, tolerance = 1e-12, minprior = 0)
best <- function(...) {
  set.seed(1)
  stepFlexmix(..., nrep = 10, control = control, verbose = FALSE)
}

numbers <- function(a) paste0("[", paste(sprintf("%.8g", c(a)), collapse = ", "), "]")
# Components in the order of their first number, whoever found them.
columns <- function(a) {
  a <- a[, order(a[1, ]), drop = FALSE]
  paste0("[", paste(apply(a, 2, numbers), collapse = ", "), "]")
}
entry <- function(name, ...) {
  own <- c(...)
  paste0('  "', name, '": {', paste0('"', names(own), '": ', own, collapse = ",\n    "), "}")
}
of_flexmix <- function(name, fit) {
  entry(name, log_likelihood = numbers(logLik(fit)), bic = numbers(BIC(fit)),
        parameters = columns(parameters(fit)))
}

pair <- best(y ~ x, data = d, k = 2)
gated <- best(y ~ x, data = d, k = 2, concomitant = FLXPmultinom(~w))
counts <- best(n ~ x, data = d, k = 2, model = FLXMRglm(family = "poisson"))
zeros <- best(z ~ x, data = d, k = 2, model = FLXMRziglm(family = "poisson"))
panel <- best(y ~ time | subject, data = p, k = 2)
refitted <- refit(counts, method = "optim", gradient = NULL)
place <- order(parameters(counts)[1, ])
gate <- parameters(gated, which = "concomitant") %*% c(-1, 1)
gate <- if (parameters(gated)[1, 1] < parameters(gated)[1, 2]) -gate else gate
errors <- sqrt(diag(refitted@vcov))[1:4]

set.seed(1)
quiet <- function(expression) {capture.output(found <- expression); found}
mixed <- quiet(regmixEM(y, x, k = 2, epsilon = 1e-12, maxit = 10000))
equal <- quiet(regmixEM(y, x, k = 2, arbvar = FALSE, epsilon = 1e-12, maxit = 10000))
of_mixtools <- function(name, fit) {
  sigma <- rep(fit$sigma, length.out = 2)
  entry(name, log_likelihood = numbers(fit$loglik),
        parameters = columns(rbind(fit$beta, sigma, fit$lambda)))
}
pois <- quiet(poisregmixEM(n, x, k = 2, epsilon = 1e-12, maxit = 10000))

parts <- c(
  of_flexmix("flexmix_pair", pair),
  of_flexmix("flexmix_gated", gated),
  entry("flexmix_gate", parameters = columns(gate)),
  of_flexmix("flexmix_counts", counts),
  entry("flexmix_zeros", log_likelihood = numbers(logLik(zeros)), share = numbers(prior(zeros)),
        parameters = columns(parameters(zeros)[, 2, drop = FALSE])),
  of_flexmix("flexmix_panel", panel),
  entry("flexmix_errors",
        errors = columns(rbind(parameters(counts), matrix(errors, 2))[, place])),
  of_mixtools("mixtools_pair", mixed),
  of_mixtools("mixtools_equal", equal),
  entry("mixtools_counts", log_likelihood = numbers(pois$loglik),
        parameters = columns(rbind(pois$beta, pois$lambda)))
)
writeLines(c("{", paste(parts, collapse = ",\n"), "}"), "tests/known_answers/from_r.json")
