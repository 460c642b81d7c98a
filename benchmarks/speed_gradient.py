"""Training speed of a mixture of neural experts beside the same model in PyTorch.

Both sides run on the same cores in double precision: softmax gate, K experts of one
hidden layer, Gaussian likelihood with a variance per expert, Adam, the same batch size;
PyTorch in eager mode.  Both have so many threads: PyTorch for its operations, ours for
the experts of a batch (``n_jobs``) and for BLAS.  Rows per second of the fastest of
alternating repetitions, the ratio of these and that of the least CPU times (which other
work on the machine touches less), and the loss after the same number of epochs as a
check that both train.

    pip install ".[bench,deep-rivals]"
    python benchmarks/speed_gradient.py [--threads 1 2] [--repeats 3]
"""

import argparse
import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.routers import TopKRouter
from skmoe.trainers import Gradient

CASES = [(4, 64, None), (16, 64, None), (16, 64, 1), (8, 256, None)]
EPOCHS = 4


def now():
    """Seconds by the clock, and of CPU."""
    return np.array([time.perf_counter(), time.process_time()])


class TorchMixture(torch.nn.Module):
    """Softmax gate over small networks, dense or routed to the k best."""

    def __init__(self, n_features, n_experts, hidden, k):
        super().__init__()
        self.gate = torch.nn.Linear(n_features, n_experts)
        self.experts = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Linear(n_features, hidden),
                torch.nn.ReLU(),
                torch.nn.Linear(hidden, 1),
            )
            for _ in range(n_experts)
        )
        self.log_variance = torch.nn.Parameter(torch.zeros(n_experts))
        self.k = k

    def loss(self, X, y):
        """Mean negative log-likelihood of a batch."""
        log_gate = torch.log_softmax(self.gate(X), dim=1)
        if self.k is not None:
            return self._routed_loss(X, y, log_gate)
        means = torch.cat([expert(X) for expert in self.experts], dim=1)
        error = (y[:, None] - means) ** 2 * torch.exp(-self.log_variance)
        log_prob = -0.5 * (error + self.log_variance + np.log(2 * np.pi))
        return -torch.logsumexp(log_gate + log_prob, dim=1).mean()

    def _routed_loss(self, X, y, log_gate):
        weights, chosen = log_gate.topk(self.k, dim=1)
        weights = weights - torch.logsumexp(weights, dim=1, keepdim=True)
        log_prob = torch.zeros_like(weights)
        for number, expert in enumerate(self.experts):
            rows, slots = torch.where(chosen == number)
            if len(rows):
                error = (y[rows] - expert(X[rows])[:, 0]) ** 2
                spread = self.log_variance[number]
                own = -0.5 * (error * torch.exp(-spread) + spread + np.log(2 * np.pi))
                log_prob = log_prob.index_put((rows, slots), own)
        return -torch.logsumexp(weights + log_prob, dim=1).mean()


def train_torch(X, y, n_experts, hidden, k, batch_size):
    """Seconds by the clock and of CPU of the epochs, and the loss of the last one."""
    torch.manual_seed(0)
    model = TorchMixture(X.shape[1], n_experts, hidden, k).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    model.loss(X[:batch_size], y[:batch_size]).backward()
    started = now()
    for _ in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(X)).split(batch_size):
            optimizer.zero_grad()
            loss = model.loss(X[rows], y[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(rows)
    return now() - started, total / len(X)


def train_skmoe(X, y, n_experts, hidden, k, batch_size):
    """The same, start and wrap-up included."""
    router = None if k is None else TopKRouter(k, training="sparse")
    model = MoERegressor(
        MLPExpert((hidden,), alpha=0),
        n_experts=n_experts,
        gate=SoftmaxGate(alpha=0),
        router=router,
        trainer=Gradient(
            start="random",
            early_stopping=False,
            max_epochs=EPOCHS,
            batch_size=batch_size,
            schedule="constant",
            warmup=0.0,
        ),
        n_jobs=torch.get_num_threads(),
        random_state=0,
    )
    started = now()
    model.fit(X, y)
    return now() - started, -model.history_["bound"][-1]


def compare(X, y, setting, repeats):
    """Least seconds (sides, 2) of PyTorch and of ours, and their last losses."""
    train_skmoe(X[:600], y[:600], *setting)
    pairs = [
        (train_torch(X, y, *setting), train_skmoe(X, y, *setting))
        for _ in range(repeats)
    ]
    least = np.array([[own[0] for own in pair] for pair in pairs]).min(axis=0)
    return least, [own[1] for own in pairs[-1]]


def report(X, y, threads, repeats):
    """Table of rows per second for a number of threads."""
    torch.set_num_threads(threads)
    for n_experts, hidden, k in CASES:
        for batch_size in (128, 512):
            setting = (n_experts, hidden, k, batch_size)
            with threadpool_limits(threads):
                (theirs, ours), losses = compare(X, y, setting, repeats)
            rates = EPOCHS * len(X) / np.array([theirs[0], ours[0]])
            ratios = theirs / ours
            print(
                f"| {threads} | {n_experts} | {hidden} | {k or 'all'} | {batch_size} "
                f"| {rates[0]:,.0f} | {rates[1]:,.0f} | {ratios[0]:.1f} "
                f"| {ratios[1]:.1f} | {losses[0]:.3f} / {losses[1]:.3f} |",
                flush=True,
            )


def main():
    """Print a table of rows per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    X, y = make_gated_regression(arguments.rows, 10, 4, random_state=0)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    print(f"PyTorch {torch.__version__}\n")
    print("| threads | K | hidden | k | batch | PyTorch rows/s | skmoe rows/s ", end="")
    print("| ratio | of CPU time | losses |\n" + "|---" * 10 + "|")
    for threads in arguments.threads:
        report(X, y, threads, arguments.repeats)


if __name__ == "__main__":
    main()
