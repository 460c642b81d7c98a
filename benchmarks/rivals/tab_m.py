"""TabM (Gorishniy, Kotelnikov, Babenko 2025), trained as its package shows.

The recipe of the package's example: columns with normal quantiles, piecewise-linear
embeddings of 48 bins, AdamW, a fifth of the rows held out, and the epoch that is best
on them.  Classifiers are judged there by the log-loss rather than the accuracy, since
that is what benchmarks report.
"""

import copy
import time

import numpy as np
import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings, compute_bins
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.feature_selection import VarianceThreshold
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from tabm import TabM
from torch.nn import functional

from skmoe.experts._encoding import numeric_encoding

NAME = "TabM"
N_BINS, EMBEDDING = 48, 16
RATE, DECAY, CLIP, BATCH, PATIENCE, HELD_OUT = 2e-3, 3e-4, 1.0, 256, 16, 0.2
NOISE = 1e-5
# Rows that are predicted at once, which bounds the memory of 32 members.
PREDICTED = 2048


def make(classify, seed, pool):
    """TabM with the settings of its example; categories are indicators."""
    kind = TabMClassifier if classify else TabMRegressor
    return make_pipeline(numeric_encoding(), kind(random_state=seed))


class BaseTabM(BaseEstimator):
    """The network, and how it is trained.

    Parameters
    ----------
    seconds : float or None, default=None
        CPU seconds after which training stops, within an epoch if need be.
    random_state : int, default=0

    Attributes
    ----------
    n_epochs_ : float
        Epochs of training, the last of them perhaps in part.
    """

    def __init__(self, seconds=None, random_state=0):
        self.seconds = seconds
        self.random_state = random_state

    def _train(self, X, target, n_outputs, stratify=None):
        ends = np.inf if self.seconds is None else time.process_time() + self.seconds
        torch.manual_seed(self.random_state)
        parts = train_test_split(
            X,
            target,
            test_size=HELD_OUT,
            random_state=self.random_state,
            stratify=stratify,
        )
        self._fit_columns(parts[0])
        fit, held = (self._columns(part) for part in parts[:2])
        y, held_y = map(torch.as_tensor, parts[2:])
        bins = compute_bins(fit, n_bins=N_BINS)
        embedding = PiecewiseLinearEmbeddings(
            bins, d_embedding=EMBEDDING, activation=False, version="B"
        )
        self.network_ = TabM.make(
            n_num_features=fit.shape[1], d_out=n_outputs, num_embeddings=embedding
        )
        self._descend(fit, y, held, held_y, ends)
        return self

    def _fit_columns(self, X):
        self.varying_ = VarianceThreshold().fit(X)
        X = self.varying_.transform(X)
        noise = np.random.default_rng(self.random_state).normal(0.0, NOISE, X.shape)
        self.quantiles_ = QuantileTransformer(
            n_quantiles=max(min(len(X) // 30, 1000), 10),
            output_distribution="normal",
            subsample=None,
        ).fit(X + noise)

    def _columns(self, X):
        columns = self.quantiles_.transform(self.varying_.transform(X))
        return torch.as_tensor(columns, dtype=torch.float32)

    def _descend(self, fit, y, held, held_y, ends):
        adam = torch.optim.AdamW(
            self.network_.parameters(), lr=RATE, weight_decay=DECAY
        )
        least, waited, self.n_epochs_ = np.inf, 0, 0.0
        while waited <= PATIENCE:
            for rows in torch.randperm(len(fit)).split(BATCH):
                self._step(adam, fit[rows], y[rows])
                self.n_epochs_ += len(rows) / len(fit)
                if time.process_time() >= ends:
                    break
            loss = float(self.mean_loss(self._outputs(held), held_y))
            waited += 1
            if loss < least:
                least, waited = loss, 0
                best = copy.deepcopy(self.network_.state_dict())
            if time.process_time() >= ends:
                break
        self.network_.load_state_dict(best)

    def _step(self, adam, X, y):
        self.network_.train()
        adam.zero_grad()
        self.member_loss(self.network_(X), y).backward()
        torch.nn.utils.clip_grad_norm_(self.network_.parameters(), CLIP)
        adam.step()

    def _outputs(self, columns):
        self.network_.eval()
        with torch.inference_mode():
            parts = columns.split(PREDICTED)
            return torch.cat([self.network_(part) for part in parts])


class TabMRegressor(RegressorMixin, BaseTabM):
    """For values, which are standardised."""

    def fit(self, X, y):
        """Fit; returns self."""
        self.center_, self.scale_ = y.mean(), y.std()
        target = ((y - self.center_) / self.scale_).astype(np.float32)
        return self._train(np.asarray(X), target, 1)

    @staticmethod
    def member_loss(outputs, y):
        """Squared error, the mean of that of the members."""
        return ((outputs[..., 0] - y[:, None]) ** 2).mean()

    @staticmethod
    def mean_loss(outputs, y):
        """Squared error of the members' mean."""
        return ((outputs[..., 0].mean(dim=1) - y) ** 2).mean()

    def predict(self, X):
        """The members' mean."""
        outputs = self._outputs(self._columns(np.asarray(X)))
        return outputs[..., 0].mean(dim=1).numpy() * self.scale_ + self.center_


class TabMClassifier(ClassifierMixin, BaseTabM):
    """For classes."""

    def fit(self, X, y):
        """Fit; returns self."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._train(np.asarray(X), codes, len(self.classes_), stratify=codes)

    @staticmethod
    def member_loss(outputs, y):
        """Log-loss, the mean of that of the members."""
        every = y.repeat_interleave(outputs.shape[1])
        return functional.cross_entropy(outputs.flatten(0, 1), every)

    @staticmethod
    def mean_loss(outputs, y):
        """Log-loss of the members' mean probabilities."""
        return functional.nll_loss(outputs.softmax(dim=2).mean(dim=1).log(), y)

    def predict_proba(self, X):
        """The members' mean probabilities."""
        outputs = self._outputs(self._columns(np.asarray(X)))
        return outputs.double().softmax(dim=2).mean(dim=1).numpy()

    def predict(self, X):
        """Labels."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
