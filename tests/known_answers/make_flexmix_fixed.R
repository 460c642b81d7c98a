# Answers of flexmix where some coefficients of components are given.
#
#   Rscript tests/known_answers/make_flexmix_fixed.R
#
# in the root of the repository reads data that are here already, and writes
# flexmix_fixed.json.  An offset gives one coefficient to all components, a nested
# formula leaves columns out of one of them, and one of them may be zero for certain.
suppressMessages(library(flexmix))
folder <- "tests/known_answers"
control <- list(tolerance = 1e-12, iter.max = 5000, minprior = 0)

# With spreads by maximum likelihood, which flexmix corrects for coefficients.
gaussian_ml <- function(nested) {
  model <- FLXMRglmfix(nested = nested, varFix = FALSE)
  model@fit <- function(x, y, w, incidence, variance, ...) {
    k <- nrow(incidence)
    of <- rep(seq_len(k), each = nrow(x) / k)
    coefs <- numeric(ncol(x))
    sigma <- numeric(k)
    for (j in seq_len(k)) {
      own <- as.logical(incidence[j, ])
      rows <- of == j
      found <- lm.wfit(x[rows, own, drop = FALSE], y[rows], w = w[rows])
      coefs[own] <- coef(found)
      sigma[j] <- sqrt(sum(w[rows] * residuals(found)^2) / sum(w[rows]))
    }
    names(coefs) <- colnames(incidence)
    lapply(seq_len(k), function(j) model@defineComponent(list(
      coef = coefs[as.logical(incidence[j, ])], sigma = sigma[j],
      df = sum(incidence[j, ] / colSums(incidence)) + 1)))
  }
  model
}

numbers <- function(x) paste0("[", paste(sprintf("%.10g", x), collapse = ", "), "]")

answer <- function(name, data, formula, model, k, gate, starts = 12) {
  set.seed(1)
  fits <- lapply(seq_len(starts), function(i) {
    concomitant <- if (is.null(gate)) FLXPconstant() else FLXPmultinom(gate)
    try(flexmix(formula, data = data, k = k, model = model, concomitant = concomitant,
                control = control), silent = TRUE)
  })
  fits <- Filter(function(f) !inherits(f, "try-error") && f@k == k, fits)
  best <- fits[[which.max(sapply(fits, function(f) logLik(f)[1]))]]
  found <- lapply(1:k, function(j) drop(parameters(best, component = j)))
  own <- sapply(found, function(p) {
    # Plain names of columns, whatever flexmix puts before them.
    names <- sub("^(Comp[.][0-9]+[.])?coef[.]", "", names(p))
    values <- ifelse(is.finite(p), sprintf("%.10g", p), "null")
    paste0("{", paste0('"', names, '": ', values, collapse = ", "), "}")
  })
  paste0('  "', name, '": {"n_experts": ', k, ', "loglik": ',
         sprintf("%.10g", logLik(best)[1]), ', "df": ', attr(logLik(best), "df"),
         ',\n    "parameters": [', paste(own, collapse = ",\n      "), "]}")
}

nreg <- read.csv(file.path(folder, "nregfix_k3.csv"))
breg <- read.csv(file.path(folder, "bregfix_binomial_k3.csv"))
counts <- read.csv(file.path(folder, "subjects_counts.csv"))
breg$no <- breg$trials - breg$yes
# Every third subject never counts.
counts$zeros <- ifelse(counts$subject %% 3 == 0, 0, counts$y)
one_without <- function(f) list(k = c(1, 1, 1), formula = c(f, f, ~ 0))

answers <- c(
  answer("offset", counts, y ~ 1 | subject,
         FLXMRglm(family = "poisson", offset = 0.3 * counts$x), 2, NULL),
  answer("zeros", counts, zeros ~ x | subject, FLXMRziglm(family = "poisson"), 2, NULL),
  answer("gaussian", nreg, y ~ x2, gaussian_ml(one_without(~ x1)), 3, ~ w),
  answer("binomial", breg, cbind(yes, no) ~ 1,
         FLXMRglmfix(nested = one_without(~ x), family = "binomial"), 3, NULL)
)
writeLines(c("{", paste(answers, collapse = ",\n"), "}"),
           file.path(folder, "flexmix_fixed.json"))
