# Answers of flexmix where components have some of their coefficients in common.
#
#   Rscript tests/known_answers/make_flexmix_common.R
#
# in the root of the repository reads data that are here already, and writes
# flexmix_common.json.
suppressMessages(library(flexmix))
folder <- "tests/known_answers"
control <- list(tolerance = 1e-12, iter.max = 5000, minprior = 0)

# flexmix divides squares by rows less coefficients, and weighs components of unequal
# variances alike; here both are as maximum likelihood has them.
gaussian_ml <- function(fixed, equal) {
  model <- FLXMRglmfix(fixed = fixed, varFix = equal)
  model@fit <- function(x, y, w, incidence, variance, ...) {
    k <- nrow(incidence)
    of <- rep(seq_len(k), each = nrow(x) / k)
    sigma <- rep(1, k)
    for (i in 1:500) {
      found <- lm.wfit(x, y, w = w / sigma[of]^2)
      squares <- w * (y - x %*% coef(found))^2
      new <- sqrt(tapply(squares, of, sum) / tapply(w, of, sum))
      if (equal) new <- rep(sqrt(sum(squares) / sum(w)), k)
      moved <- max(abs(new / sigma - 1))
      sigma <- as.numeric(new)
      if (moved < 1e-12) break
    }
    coefs <- coef(found)
    names(coefs) <- colnames(incidence)
    lapply(seq_len(k), function(j) model@defineComponent(list(
      coef = coefs[as.logical(incidence[j, ])], sigma = sigma[j],
      df = sum(incidence[j, ] / colSums(incidence)) + ifelse(equal, 1 / k, 1))))
  }
  model
}

numbers <- function(x) paste0("[", paste(sprintf("%.10g", x), collapse = ", "), "]")
lists <- function(x) paste0("[", paste(apply(x, 1, numbers), collapse = ", "), "]")

answer <- function(name, data, formula, model, k, gate, starts = 12) {
  set.seed(1)
  fits <- lapply(seq_len(starts), function(i) {
    concomitant <- if (is.null(gate)) FLXPconstant() else FLXPmultinom(gate)
    try(flexmix(formula, data = data, k = k, model = model, concomitant = concomitant,
                control = control), silent = TRUE)
  })
  fits <- Filter(function(f) !inherits(f, "try-error") && f@k == k, fits)
  best <- fits[[which.max(sapply(fits, function(f) logLik(f)[1]))]]
  found <- lapply(1:k, function(j) parameters(best, component = j))
  cat(name, rownames(found[[1]]), "\n")
  paste0('  "', name, '": {"n_experts": ', k, ', "loglik": ',
         sprintf("%.10g", logLik(best)[1]), ', "df": ', attr(logLik(best), "df"),
         ',\n    "order": ["', paste(rownames(found[[1]]), collapse = '", "'), '"]',
         ',\n    "parameters": ', lists(t(sapply(found, as.numeric))), "}")
}

nreg <- read.csv(file.path(folder, "nregfix_k3.csv"))
breg <- read.csv(file.path(folder, "bregfix_binomial_k3.csv"))
counts <- read.csv(file.path(folder, "subjects_counts.csv"))
breg$no <- breg$trials - breg$yes

answers <- c(
  answer("equal", nreg, y ~ x1, gaussian_ml(~ x2, TRUE), 3, NULL),
  answer("unequal", nreg, y ~ x1, gaussian_ml(~ x2, FALSE), 3, ~ w),
  answer("binomial", breg, cbind(yes, no) ~ 1,
         FLXMRglmfix(fixed = ~ x, family = "binomial"), 3, ~ w),
  answer("counts", counts, y ~ 1 | subject,
         FLXMRglmfix(fixed = ~ x, family = "poisson"), 2, NULL)
)
writeLines(c("{", paste(answers, collapse = ",\n"), "}"),
           file.path(folder, "flexmix_common.json"))
