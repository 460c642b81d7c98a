# Answers of flexmix where rows of a subject share one component.
#
#   Rscript tests/known_answers/make_flexmix.R
#
# in the root of the repository writes the data, as subjects_*.csv, and flexmix_subjects.json.
# Data are drawn here, or those of R's own package "datasets".
suppressMessages(library(flexmix))
folder <- "tests/known_answers"
control <- list(tolerance = 1e-12, iter.max = 5000, minprior = 0)

# flexmix divides squares by rows less coefficients; here they are divided by rows, as
# maximum likelihood does.
gaussian_ml <- function() {
  model <- FLXMRglm()
  model@fit <- function(x, y, w, component) {
    found <- lm.wfit(x, y, w = w)
    sigma <- sqrt(sum(w * found$residuals^2) / sum(w))
    model@defineComponent(list(coef = coef(found), df = ncol(x) + 1, sigma = sigma))
  }
  model
}

numbers <- function(x) paste0("[", paste(sprintf("%.10g", x), collapse = ", "), "]")
lists <- function(x) paste0("[", paste(apply(x, 1, numbers), collapse = ", "), "]")

answer <- function(name, data, formula, model, k, gate, described) {
  set.seed(1)
  fits <- lapply(1:30, function(i) {
    concomitant <- if (is.null(gate)) FLXPconstant() else FLXPmultinom(gate)
    try(flexmix(formula, data = data, k = k, model = model, concomitant = concomitant,
                control = control), silent = TRUE)
  })
  fits <- Filter(function(f) !inherits(f, "try-error") && f@k == k, fits)
  best <- fits[[which.max(sapply(fits, function(f) logLik(f)[1]))]]
  coef <- t(sapply(1:k, function(j) parameters(best, component = j)))
  write.csv(data, file.path(folder, paste0("subjects_", name, ".csv")), row.names = FALSE)
  first <- !duplicated(data$subject)
  paste0('  "', name, '": {', described, ', "n_experts": ', k,
         ',\n    "loglik": ', sprintf("%.10g", logLik(best)[1]),
         ', "bic_of_rows": ', sprintf("%.10g", BIC(best)),
         ',\n    "parameters": ', lists(coef),
         ',\n    "posterior": ', lists(posterior(best)[first, ]), "}")
}

set.seed(20)
subject <- rep(1:150, each = 6)
kind <- runif(150) < 0.5
x <- rnorm(900)
y <- 1 + ifelse(kind[subject], 0.8, -0.5) * x + rnorm(900)
slopes <- data.frame(subject, x, y)

sizes <- sample(1:9, 120, replace = TRUE)
subject <- rep(1:120, sizes)
w <- rnorm(120)
kind <- runif(120) < plogis(0.3 + w)
x <- rnorm(length(subject))
rate <- exp(ifelse(kind[subject], 1 + 0.4 * x, 0.2 - 0.5 * x))
counts <- data.frame(subject, x, w = w[subject], y = rpois(length(subject), rate))

subject <- rep(1:60, each = 4)
kind <- runif(60) < 0.4
x <- rnorm(240)
trials <- sample(2:12, 240, replace = TRUE)
p <- plogis(ifelse(kind[subject], 0.8 + x, -0.6 + 0.2 * x))
y <- rbinom(240, trials, p)
shares <- data.frame(subject, x, trials, y, failures = trials - y)

chicks <- data.frame(subject = as.integer(ChickWeight$Chick), time = ChickWeight$Time,
                     time2 = ChickWeight$Time^2, y = ChickWeight$weight)
plants <- data.frame(subject = as.integer(CO2$Plant), x = log(CO2$conc), y = CO2$uptake)

parts <- c(
  answer("slopes", slopes, y ~ x | subject, gaussian_ml(), 2, NULL,
         '"likelihood": "gaussian", "columns": ["x"], "gate": []'),
  answer("counts", counts, y ~ x | subject, FLXMRglm(family = "poisson"), 2, ~w,
         '"likelihood": "poisson", "columns": ["x"], "gate": ["w"]'),
  answer("shares", shares, cbind(y, failures) ~ x | subject,
         FLXMRglm(family = "binomial"), 2, NULL,
         '"likelihood": "binomial", "columns": ["x"], "gate": []'),
  answer("chicks", chicks, y ~ time + time2 | subject, gaussian_ml(), 3, NULL,
         '"likelihood": "gaussian", "columns": ["time", "time2"], "gate": []'),
  answer("plants", plants, y ~ x | subject, gaussian_ml(), 2, NULL,
         '"likelihood": "gaussian", "columns": ["x"], "gate": []')
)
writeLines(c("{", paste(parts, collapse = ",\n"), "}"),
           file.path(folder, "flexmix_subjects.json"))
