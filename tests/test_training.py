"""Training against the loop that anybody would write, and what it promises about company, divergence and recording."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import r2_score
from torch import Tensor, nn

from winit import datasets
from winit import training as engine
from winit.datasets import DATASETS, Data, load
from winit.fields import BadInput
from winit.layers import NORMALIZATIONS, RESIDUALS
from winit.network import Ensemble, Member, initialize
from winit.optimizers import OPTIMIZERS, SCHEDULES
from winit.seeds import generator
from winit.spec import Spec
from winit.training import STATUSES, History, Training, dense_steps, recorded_steps, seeds_of, status, train

# The reference for one of each kind of memory; tests/test_engine.py holds all of them.
PLAIN: dict[str, Callable[[Iterator[nn.Parameter], float], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate),
    "momentum": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=0.9),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
}
BLOCKS = [(norm, residual) for norm in ("none", *NORMALIZATIONS) for residual in ("off", *RESIDUALS)]
EACH_BLOCK = pytest.mark.parametrize(("normalization", "residual"), BLOCKS)
# Each optimizer with something around its steps: schedule, weight decay, clipping.
SURROUNDED = [
    ("sgd", "constant", 0, 0),
    ("momentum", "warmup", 10, 1),
    ("nesterov", "cosine", 1, 0),
    ("rmsprop", "constant", 0, 1),
    ("adam", "cosine", 0, 0),
    ("adamw", "warmup", 10, 0),
]
EACH_SURROUNDED = pytest.mark.parametrize(("optimizer", "schedule", "weight_decay", "clip"), SURROUNDED)
LABELLED = [name for name, record in DATASETS.items() if record.has_labels]
MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "softsign": nn.Softsign,
}
CROWD = tuple(
    Member(initializer, seed, rate)
    for seed, (initializer, rate) in enumerate(
        [("he_normal", 0.05), ("glorot_uniform", 0.1), ("orthogonal", 0.02), ("torch_default", 0.3)] * 4
    )
)


def _regression() -> Data:
    """Return two features that determine two targets, with noise."""
    source = np.random.default_rng(0)
    x = source.normal(size=(150, 2)).astype(np.float32)
    y = np.stack([np.sin(2 * x[:, 0]), x[:, 0] * x[:, 1]], axis=1) + 0.1 * source.normal(size=(150, 2))
    return Data(x[:100], y[:100].astype(np.float32), x[100:], y[100:].astype(np.float32), 2)


def _batches(data: Data, batch_size: int, seed: int, steps: int) -> list[Tensor]:
    """Return the sample numbers of each step by the documented rule: the seed's permutations, one after the other."""
    total = len(data.train_x)
    if batch_size >= total:
        return [torch.arange(total)] * steps
    epochs = math.ceil(steps * batch_size / total)
    orders = [torch.randperm(total, generator=generator(seed, "batches", epoch)) for epoch in range(epochs)]
    return list(torch.cat(orders)[: steps * batch_size].view(steps, batch_size))


def plain_network(activation: str, ensemble: Ensemble, member: int) -> nn.Sequential:
    """Return one member as anybody would write it, with the same weights."""
    layers: list[nn.Module] = []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        linear = nn.Linear(weight.shape[2], weight.shape[1], dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight[member])
            linear.bias.copy_(bias[member, :, 0])
        layers += [linear, MODULES[activation]()]
    return nn.Sequential(*layers[:-1])


class _Loop:
    """The reference: one network, autograd, torch.optim."""

    def __init__(self, spec: Spec, member: Member, data: Data, dtype: torch.dtype = torch.float64) -> None:
        self.net = plain_network(spec.activation, initialize(spec, [member], dtype), 0)
        self.criterion = nn.CrossEntropyLoss() if data.is_classification else nn.MSELoss()
        self.optimizer = PLAIN[spec.optimizer](self.net.parameters(), member.learning_rate)
        kind = torch.int64 if data.is_classification else dtype
        self.x, self.test_x = torch.tensor(data.train_x, dtype=dtype), torch.tensor(data.test_x, dtype=dtype)
        self.y, self.test_y = torch.tensor(data.train_y, dtype=kind), torch.tensor(data.test_y, dtype=kind)
        self.batches = iter(_batches(data, spec.batch_size, member.seed, spec.steps))

    def step(self) -> float:
        index = next(self.batches)
        self.optimizer.zero_grad()
        loss = self.criterion(self.net(self.x[index]), self.y[index])
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def evaluate(self, samples: int) -> tuple[float, float, float]:
        """Return loss and accuracy (R^2 of a regression) on the first training samples, and that on the test part."""
        outputs, answers = self.net(self.x[:samples]), self.net(self.test_x)
        loss = float(self.criterion(outputs, self.y[:samples]))
        if isinstance(self.criterion, nn.MSELoss):
            # All targets together: each weighs as much as it varies.
            pairs = ((self.y[:samples], outputs), (self.test_y, answers))
            first, second = (r2_score(*pair, multioutput="variance_weighted") for pair in pairs)
            return loss, first, second
        hits = (outputs.argmax(dim=1) == self.y[:samples]).double().mean()
        return loss, float(hits), float((answers.argmax(dim=1) == self.test_y).double().mean())


def _finished(training: Training) -> History:
    for _ in training:
        pass
    return training.history()


def _same(one: Training | Ensemble, number: int, other: Training | Ensemble, place: int) -> bool:
    """Whether two members have learned and remember the same numbers, bit for bit."""

    def numbers(side: Training | Ensemble) -> Iterator[Tensor]:
        ensemble = side.ensemble if isinstance(side, Training) else side
        yield from (*ensemble.weights, *ensemble.biases, *ensemble.branches)
        for norm in ensemble.norms:
            yield from (norm.gain, norm.shift, norm.mean, norm.variance)

    def equal(a: Tensor, b: Tensor) -> bool:
        # What is not a number is not equal to itself; a member that diverged is the same all the same.
        return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())

    return all(equal(a[number], b[place]) for a, b in zip(numbers(one), numbers(other), strict=True))


# Against the loop


@pytest.mark.sampled(4)
@pytest.mark.parametrize("optimizer", list(PLAIN))
@pytest.mark.parametrize(
    ("activation", "dataset", "batch_size"),
    [
        ("relu", "digits", 64),
        ("tanh", "digits", 37),
        ("gelu", "moons", 1),
        ("selu", "blobs", 100),
        ("sigmoid", "xor", 799),
        ("silu", "spirals", 800),
        ("softsign", "circles", 4096),
    ],
)
def test_fifty_steps_are_those_of_a_plain_loop(activation: str, dataset: str, batch_size: int, optimizer: str) -> None:
    spec = Spec(
        depth=4, width=12, activation=activation, dataset=dataset, batch_size=batch_size, optimizer=optimizer, steps=50
    )
    members = [Member("he_normal", 3, 0.02), Member("torch_default", 0, 0.002), Member("xavier_normal", 3, 0.01)]
    data = load(dataset)
    training = Training(spec, members, every=1, dtype=torch.float64)
    loops = [_Loop(spec, member, data) for member in members]
    samples = min(datasets.EVALUATION_LIMIT, len(data.train_x))
    for snapshot in training:
        if snapshot.step:
            expected = [loop.step() for loop in loops]
            np.testing.assert_allclose(training.batch_losses.numpy(), expected, rtol=1e-10)
        evaluations = np.array([loop.evaluate(samples) for loop in loops])
        np.testing.assert_allclose(snapshot.loss, evaluations[:, 0], rtol=1e-10)
        np.testing.assert_array_equal(snapshot.train_accuracy, evaluations[:, 1])
        np.testing.assert_array_equal(snapshot.test_accuracy, evaluations[:, 2])
    history = training.history()
    whole = np.array([loop.evaluate(len(data.train_x)) for loop in loops])
    np.testing.assert_allclose(history.final_loss, whole[:, 0], rtol=1e-10)
    np.testing.assert_array_equal(history.final_train_accuracy, whole[:, 1])
    np.testing.assert_array_equal(history.final_test_accuracy, whole[:, 2])
    for number, loop in enumerate(loops):
        start = initialize(spec, members, torch.float64)
        for layer, module in enumerate(m for m in loop.net if isinstance(m, nn.Linear)):
            found, expected_weight = training.ensemble.weights[layer][number], module.weight.detach()
            torch.testing.assert_close(found, expected_weight, rtol=1e-8, atol=1e-10)
            assert not torch.equal(found, start.weights[layer][number])


@pytest.mark.parametrize("optimizer", list(PLAIN))
def test_a_regression_is_learned_as_by_a_plain_loop(optimizer: str) -> None:
    data = _regression()
    spec = Spec(depth=2, width=16, activation="tanh", dataset="moons", batch_size=30, optimizer=optimizer, steps=50)
    members = [Member("glorot_normal", 1, 0.01), Member("he_uniform", 2, 0.05)]
    training = Training(spec, members, every=1, data=data, dtype=torch.float64)
    loops = [_Loop(spec, member, data) for member in members]
    for snapshot in training:
        if snapshot.step:
            np.testing.assert_allclose(training.batch_losses.numpy(), [loop.step() for loop in loops], rtol=1e-10)
        expected = np.array([loop.evaluate(100) for loop in loops])
        np.testing.assert_allclose(snapshot.loss, expected[:, 0], rtol=1e-10)
        np.testing.assert_allclose(snapshot.train_accuracy, expected[:, 1], atol=1e-6)
        np.testing.assert_allclose(snapshot.test_accuracy, expected[:, 2], atol=1e-6)
    history = training.history()
    np.testing.assert_array_equal(history.final_loss, history.loss[:, -1])
    np.testing.assert_array_equal(history.final_train_accuracy, history.train_accuracy[:, -1])
    np.testing.assert_array_equal(history.final_test_accuracy, history.test_accuracy[:, -1])
    assert (history.loss[:, 0] > history.constant_loss).all()  # worse than the mean at first: below 0
    assert (history.train_accuracy[:, 0] < 0).all()
    assert history.chance == 0
    assert history.constant_loss == pytest.approx(np.var(data.train_y.astype(float), axis=0).mean())
    assert history.statuses == tuple(status(loss, history.constant_loss, None) for loss in history.final_loss)
    assert (history.final_loss < history.loss[:, 0]).all()


def test_single_precision_follows_the_plain_loop_closely() -> None:
    spec = Spec(depth=3, width=32, activation="tanh", steps=50)
    members = [Member("glorot_normal", 0, 0.05), Member("lecun_uniform", 1, 0.05)]
    training = Training(spec, members, every=1)
    loops = [_Loop(spec, member, load("digits"), torch.float32) for member in members]
    for snapshot in training:
        if snapshot.step:
            np.testing.assert_allclose(training.batch_losses.numpy(), [loop.step() for loop in loops], rtol=1e-5)


def test_every_epoch_sees_every_sample_once() -> None:
    """The rule itself, through what it does: with a rate of 0 the batch losses of an epoch average to the whole's."""
    spec = Spec(depth=2, width=6, dataset="moons", batch_size=40, steps=60, learning_rate=0)
    training = train(spec, 2, every=1, dtype=torch.float64)
    next(training)
    losses = np.array([(next(training), training.batch_losses.numpy().copy())[1] for _ in range(60)])
    whole = training.history().final_loss
    epochs = losses.reshape(3, 20, 2).mean(axis=1)
    np.testing.assert_allclose(epochs, np.tile(whole, (3, 1)), rtol=1e-12)
    assert (losses.std(axis=0) > 1e-3 * whole).all()  # the batches do differ


# Alone and in company


@pytest.fixture
def one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train all members of a run in one group, however large; tests/test_groups.py is about groups."""
    monkeypatch.setattr(engine, "group_size", lambda spec, members, workers: members)


def _assert_unmoved_by_company(
    spec: Spec, crowd: tuple[Member, ...], every: int, sizes: tuple[int, ...] = (2, 7, len(CROWD))
) -> None:
    """Assert that members are bitwise the same alone and in company of so many."""
    companies = {size: Training(spec, crowd[:size], every=every) for size in sizes}
    recorded = {size: _finished(company) for size, company in companies.items()}
    for number in {0, *(size - 1 for size in sizes)}:
        alone = Training(spec, [crowd[number]], every=every)
        history = _finished(alone)
        for size, company in companies.items():
            if number < size:
                assert _same(alone, 0, company, number)
                assert len(company.groups) == 1
                for name in ("loss", "train_accuracy", "test_accuracy"):
                    np.testing.assert_array_equal(getattr(history, name)[0], getattr(recorded[size], name)[number])
                assert history.statuses[0] == recorded[size].statuses[number]


@pytest.mark.sampled(3)
@pytest.mark.usefixtures("one_group")
@pytest.mark.parametrize(
    ("activation", "optimizer", "batch_size"),
    [("relu", "sgd", 64), ("tanh", "momentum", 17), ("gelu", "adam", 1), ("sigmoid", "sgd", 50)],
)
@pytest.mark.parametrize("width", [4, 9, 32, 100])
def test_a_member_is_the_same_alone_or_in_company(width: int, activation: str, optimizer: str, batch_size: int) -> None:
    spec = Spec(depth=3, width=width, activation=activation, optimizer=optimizer, batch_size=batch_size, steps=100)
    _assert_unmoved_by_company(spec, CROWD, every=25)


@pytest.mark.usefixtures("one_group")
@pytest.mark.parametrize(
    ("width", "optimizer", "normalization", "residual"),
    [
        *((width, optimizer, "layer", "plain") for width in (4, 7, 33, 100) for optimizer in ("momentum", "adam")),
        (33, "adam", "batch", "zero"),
        (7, "momentum", "rms", "depth_scaled"),
    ],
)
def test_a_member_is_the_same_with_blocks_and_memory(
    width: int, optimizer: str, normalization: str, residual: str
) -> None:
    """In single precision and over 300 steps, which would turn the first different bit into different digits."""
    spec = Spec(
        depth=2,
        width=width,
        activation="tanh",
        normalization=normalization,
        residual=residual,
        optimizer=optimizer,
        batch_size=20,
        steps=300,
    )
    _assert_unmoved_by_company(spec, CROWD, every=150, sizes=(5,))


@pytest.mark.usefixtures("one_group")
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_member_is_the_same_with_every_optimizer(optimizer: str) -> None:
    spec = Spec(
        width=(9, 33, 5, 2),
        normalization="layer",
        optimizer=optimizer,
        schedule="cosine",
        weight_decay=0.01,
        clip=0.5,
        batch_size=20,
        steps=100,
    )
    _assert_unmoved_by_company(spec, CROWD, every=50, sizes=(2, 7))


@pytest.mark.slow
@pytest.mark.usefixtures("one_group")
@EACH_BLOCK
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("width", [1, 7, 33])
def test_a_member_is_the_same_with_each_block(width: int, optimizer: str, normalization: str, residual: str) -> None:
    spec = Spec(
        depth=4, width=width, normalization=normalization, residual=residual, optimizer=optimizer, batch_size=50
    )
    _assert_unmoved_by_company(spec, CROWD, every=100)


@pytest.mark.slow
@pytest.mark.usefixtures("one_group")
@pytest.mark.parametrize("dataset", LABELLED)
@pytest.mark.parametrize(
    ("optimizer", "normalization", "residual"),
    [("nesterov", "none", "off"), ("rmsprop", "batch", "plain"), ("adamw", "layer", "zero")],
)
def test_a_member_is_the_same_on_each_data_set(dataset: str, optimizer: str, normalization: str, residual: str) -> None:
    spec = Spec(
        depth=3,
        width=33,
        normalization=normalization,
        residual=residual,
        dataset=dataset,
        optimizer=optimizer,
        schedule="warmup",
        weight_decay=0.01,
        clip=1,
    )
    _assert_unmoved_by_company(spec, CROWD, every=100, sizes=(2, 7))


@pytest.mark.slow
@pytest.mark.usefixtures("one_group")
@pytest.mark.parametrize(
    ("activation", "optimizer", "dataset", "batch_size"),
    [
        ("relu", "sgd", "digits", 64),
        ("tanh", "momentum", "digits", 64),
        ("silu", "adam", "digits", 50),
        ("relu", "adam", "spirals", 4096),
        ("mish", "sgd", "blobs", 3),
    ],
)
@pytest.mark.parametrize("width", [1, 4, 7, 9, 16, 25, 32, 64, 100])
def test_a_member_is_the_same_for_long(
    width: int, activation: str, optimizer: str, dataset: str, batch_size: int
) -> None:
    spec = Spec(
        depth=4,
        width=width,
        activation=activation,
        optimizer=optimizer,
        dataset=dataset,
        batch_size=batch_size,
        steps=100 if dataset == "spirals" else 300,
    )
    _assert_unmoved_by_company(spec, CROWD, every=50)


def test_the_order_of_members_changes_nothing() -> None:
    spec = Spec(depth=2, width=10, steps=30)
    forward, backward = Training(spec, CROWD, every=30), Training(spec, CROWD[::-1], every=30)
    _finished(forward), _finished(backward)
    assert all(_same(forward, number, backward, -1 - number) for number in range(len(CROWD)))


def test_members_of_one_seed_share_their_batches() -> None:
    spec = Spec(depth=2, width=10, steps=20, batch_size=16)
    twice = Member("he_normal", 5, 0.1)
    training = Training(spec, [twice, Member("he_normal", 6, 0.1), twice], every=20)
    history = _finished(training)
    assert _same(training, 0, training, 2)
    assert not _same(training, 0, training, 1)
    np.testing.assert_array_equal(history.loss[0], history.loss[2])


def test_two_trainings_do_not_disturb_each_other_nor_global_randomness() -> None:
    spec = Spec(depth=2, width=10, steps=12)
    undisturbed = Training(spec, CROWD[:3], every=1)
    _finished(undisturbed)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, other = Training(spec, CROWD[:3], every=1), Training(spec.replace(activation="tanh"), CROWD[3:9], every=1)
    for _ in zip(one, other, strict=True):
        pass
    assert torch.equal(torch.get_rng_state(), state)
    assert all(_same(one, number, undisturbed, number) for number in range(3))


def test_a_run_may_change_its_thread_between_snapshots() -> None:
    """As in a page: each step of a visitor's run may come from another thread."""
    spec = Spec(depth=3, width=10, steps=12)
    at_home, abroad = Training(spec, CROWD[:3], every=1), Training(spec, CROWD[:3], every=1)
    expected = list(at_home)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for number, snapshot in enumerate(expected):
            pool = (first, second)[number % 2]
            found = pool.submit(next, abroad).result()
            np.testing.assert_array_equal(found.loss, snapshot.loss)
    assert all(_same(at_home, number, abroad, number) for number in range(3))


def test_how_densely_a_run_is_recorded_does_not_change_it() -> None:
    spec = Spec(depth=2, width=10, steps=43)
    runs = [
        Training(spec, CROWD[:4], every=every, layer_statistics=statistics)
        for every, statistics in ((None, False), (1, True), (43, False), (10, True))
    ]
    histories = [_finished(run) for run in runs]
    for run, history in zip(runs[1:], histories[1:], strict=True):
        assert all(_same(runs[0], number, run, number) for number in range(4))
        np.testing.assert_array_equal(history.final_loss, histories[0].final_loss)
        shared = sorted(set(history.steps) & set(histories[0].steps))
        assert {0, 43} <= set(shared)
        for step in shared:
            np.testing.assert_array_equal(
                history.loss[:, history.steps.index(step)], histories[0].loss[:, histories[0].steps.index(step)]
            )


# Step 0, rates at their ends, extreme shapes


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_step_0_is_the_untouched_initialization(optimizer: str) -> None:
    spec = Spec(depth=3, width=11, optimizer=optimizer)
    training = Training(spec, CROWD)
    first = next(training)
    start = initialize(spec, CROWD)
    assert first.step == training.step == 0
    assert training.progress == 0
    assert all(_same(training, number, start, number) for number in range(len(CROWD)))
    data = load("digits")
    outputs = start.outputs(torch.tensor(data.train_x[:512]).T).double()
    targets = torch.tensor(data.train_y[:512])
    expected = [float(F.cross_entropy(outputs[number].T, targets)) for number in range(len(CROWD))]
    np.testing.assert_allclose(first.loss, expected, rtol=1e-5)
    assert first.diverged_at == (None,) * len(CROWD)


def test_where_all_outputs_are_equal_the_first_class_is_the_answer() -> None:
    """As argmax has it: a network of zeros is right for one class, neither for none nor for all."""
    data = load("digits")
    first = next(train(Spec(depth=2, width=5, initializer="zeros"), 2))
    np.testing.assert_allclose(first.train_accuracy, (data.train_y[:512] == 0).mean())
    np.testing.assert_allclose(first.test_accuracy, (data.test_y == 0).mean())
    np.testing.assert_allclose(first.loss, math.log(10), rtol=1e-6)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_rate_of_0_leaves_the_weights_unchanged(optimizer: str) -> None:
    spec = Spec(depth=3, width=11, optimizer=optimizer, steps=10)
    members = [Member("torch_default", 0, 0.0), Member("he_normal", 1, 0.0), Member("he_normal", 1, 0.1)]
    training = Training(spec, members, every=1)
    history = _finished(training)
    start = initialize(spec, members)
    assert [_same(training, number, start, number) for number in range(3)] == [True, True, False]
    assert (history.loss[:2] == history.loss[:2, :1]).all()


def test_every_optimizer_and_schedule_is_surrounded() -> None:
    assert [row[0] for row in SURROUNDED] == list(OPTIMIZERS)
    assert {row[1] for row in SURROUNDED} == set(SCHEDULES)


@EACH_SURROUNDED
@EACH_BLOCK
def test_a_rate_of_0_learns_nothing_whatever_surrounds_it(
    normalization: str, residual: str, optimizer: str, schedule: str, weight_decay: float, clip: float
) -> None:
    spec = Spec(
        depth=2,
        width=5,
        normalization=normalization,
        residual=residual,
        optimizer=optimizer,
        schedule=schedule,
        weight_decay=weight_decay,
        clip=clip,
        learning_rate=0,
        dataset="moons",
        steps=3,
    )
    training = train(spec, 2)
    parameters = [parameter.clone() for group in training.groups for parameter in group.workspace.parameters]
    history = _finished(training)
    after = [parameter for group in training.groups for parameter in group.workspace.parameters]
    assert all(torch.equal(one, two) for one, two in zip(parameters, after, strict=True))
    assert history.diverged_at == (None, None)
    if normalization != "batch":  # whose running statistics move all the same
        assert (history.loss == history.loss[:, :1]).all()


@pytest.mark.parametrize(("normalization", "residual"), [("none", "off"), ("batch", "zero")])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_training_that_rests_goes_on_as_if_it_had_not(optimizer: str, normalization: str, residual: str) -> None:
    blocks = {"normalization": normalization, "residual": residual}
    spec = Spec(depth=3, width=9, optimizer=optimizer, dataset="moons", steps=12, weight_decay=0.01, **blocks)
    one, other = train(spec, 3, every=2), train(spec, 3, every=2)
    for _ in zip(one, other, strict=True):
        other.rest()
        other.rest()  # again, with nothing left to let go of
    first, second = _finished(one), _finished(other)
    for name in ("loss", "train_accuracy", "test_accuracy", "final_loss"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_a_training_at_rest_holds_little_but_its_weights() -> None:
    def held() -> int:
        gc.collect()
        tensors = [found for found in gc.get_objects() if type(found) is Tensor]
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

    spec = Spec(depth=10, width=64, steps=40)
    next(train(spec))  # its data are kept for all
    before = held()
    training = train(spec, 4, every=20)
    next(training)
    next(training)
    weights = 4 * 4 * spec.weights
    assert held() - before > 3 * weights
    training.rest()
    assert weights <= held() - before < 1e6  # a visitor's share, between computations
    next(training)
    assert training.is_finished


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus"])
def test_the_largest_rate_diverges_without_an_exception(activation: str, optimizer: str) -> None:
    spec = Spec(depth=3, width=10, activation=activation, optimizer=optimizer, learning_rate=1e10, steps=8)
    history = _finished(train(spec, 3, layer_statistics=True, every=1))
    assert history.statuses == ("diverged",) * 3
    assert history.is_complete


def _is_sound(history: History) -> None:
    """Assert that each member's end is finite, or marked as diverged at a step."""
    ends = zip(history.final_loss, history.final_train_accuracy, history.final_test_accuracy, strict=True)
    for end, status_, left in zip(ends, history.statuses, history.diverged_at, strict=True):
        if np.isfinite(end[0]):
            assert np.isfinite(end).all()
        else:
            assert status_ == "diverged"
            assert left is not None


@pytest.mark.sampled(5)
@pytest.mark.filterwarnings("error")
@EACH_SURROUNDED
@EACH_BLOCK
def test_the_largest_rate_is_survived_or_marked(
    normalization: str, residual: str, optimizer: str, schedule: str, weight_decay: float, clip: float
) -> None:
    spec = Spec(
        depth=3,
        width=6,
        normalization=normalization,
        residual=residual,
        optimizer=optimizer,
        learning_rate=1e10,
        schedule=schedule,
        clip=clip,
        weight_decay=weight_decay,
        dataset="moons",
        steps=8,
    )
    history = _finished(train(spec, 2, layer_statistics=True, every=1))
    assert history.is_complete
    _is_sound(history)
    if normalization == "none":
        assert history.statuses == ("diverged",) * 2
    else:  # it undoes any size of the weights below it: not every network leaves the numbers, but none learns
        assert set(history.statuses) <= {"stalled", "worse", "diverged"}


@pytest.mark.sampled(3)
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("depth", [1, 200])
@EACH_BLOCK
def test_width_1_and_depth_200_run_with_each_block(normalization: str, residual: str, depth: int) -> None:
    spec = Spec(
        depth=depth, width=1, normalization=normalization, residual=residual, batch_size=2, steps=1, dataset="moons"
    )
    training = train(spec.replace(activation="tanh"), 2, layer_statistics=True, every=1)
    snapshots = list(training)
    history = training.history()
    assert [snapshot.step for snapshot in snapshots] == [0, 1]
    _is_sound(history)
    assert np.isfinite(history.loss).all()
    assert [s.layers.activation_deviation.shape for s in snapshots if s.layers] == [(2, depth)] * 2
    if normalization == "layer" and residual == "off":
        # One unit less its mean is 0: what is left is the shift.
        assert snapshots[0].layers is not None
        np.testing.assert_array_equal(snapshots[0].layers.activation_deviation, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.slow
@EACH_BLOCK
@pytest.mark.parametrize(("activation", "optimizer"), [("relu", "sgd"), ("tanh", "adam"), ("gelu", "nesterov")])
def test_depth_200_is_sound(activation: str, optimizer: str, normalization: str, residual: str) -> None:
    spec = Spec(
        depth=200,
        width=16,
        activation=activation,
        normalization=normalization,
        residual=residual,
        optimizer=optimizer,
        batch_size=16,
        steps=20,
    )
    history = _finished(train(spec, 2, layer_statistics=True))
    assert history.is_complete
    _is_sound(history)


def _constant(kind: str) -> Data:
    """Return data of which a part does not vary at all."""
    source = np.random.default_rng(1)
    x = source.normal(size=(60, 3)).astype(np.float32)
    y = source.integers(2, size=60)
    outputs = 2
    if kind == "inputs":
        x = np.zeros_like(x)
    elif kind == "equal inputs":
        x = np.full_like(x, 3.0)
    elif kind == "one feature":
        x[:, 1] = 0
    elif kind == "classes":
        y = np.ones_like(y)
    else:
        outputs = 1
        y = np.full((60, 1), 0.5 if kind == "targets" else 0.0, dtype=np.float32)
    return Data(x[:40], y[:40], x[40:], y[40:], outputs)


class _ThreeFeatures(Spec):
    """A spec whose inputs are those of `_constant`."""

    @property
    def inputs(self) -> int:
        return 3

    @property
    def outputs(self) -> int:
        return 1 if self.dataset == "digits" else 2


@pytest.mark.sampled(7)
@pytest.mark.filterwarnings("error")
@EACH_BLOCK
@pytest.mark.parametrize("kind", ["inputs", "equal inputs", "one feature", "classes"])
def test_data_without_variance_is_trained_on(kind: str, normalization: str, residual: str) -> None:
    spec = _ThreeFeatures(
        depth=2,
        width=8,
        normalization=normalization,
        residual=residual,
        dataset="moons",
        batch_size=10,
        learning_rate=0.2,
        steps=100,
    )
    data = _constant(kind)
    training = train(spec, 2, data=data, layer_statistics=True)
    history = _finished(training)
    assert history.diverged_at == (None, None)
    _is_sound(history)
    if kind in ("inputs", "equal inputs"):
        # All that can be learned are the class frequencies: the same answer for every sample.
        assert (history.final_loss > 0.999 * history.constant_loss).all()
        assert set(history.final_train_accuracy) <= {(data.train_y == label).mean() for label in (0, 1)}
        # Evaluated, batch normalization divides by the root of epsilon how far its mean lags behind.
        if normalization != "batch":
            assert set(history.statuses) <= {"stalled", "worse"}
        assert (training.batch_losses < 2 * history.constant_loss).all()
    if kind == "classes":
        assert history.constant_loss == 0
        np.testing.assert_array_equal(history.final_train_accuracy, 1)
        assert (history.final_loss < 0.05).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["targets", "targets of 0"])
def test_targets_without_variance_have_no_r_squared(kind: str) -> None:
    """Not minus infinity: there is nothing to explain."""
    spec = _ThreeFeatures(depth=1, width=8, batch_size=10, steps=20)
    history = _finished(train(spec, 2, data=_constant(kind)))
    assert history.constant_loss == 0
    assert history.diverged_at == (None, None)
    assert np.isfinite(history.loss).all()
    assert np.isnan(history.train_accuracy).all()
    assert np.isnan(history.final_test_accuracy).all()


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"normalization": "batch", "batch_size": 1}, "batch_size", "at least 2 for batch normalization"),
        ({"residual": "plain", "width": (8, 4, 8)}, "width", "the same width in every layer of a residual network"),
        ({"residual": "depth_scaled", "width": (8, 4)}, "width", "the same width in every layer"),
        ({"residual": "zero", "width": (4, 8)}, "width", "the same width in every layer"),
        ({"initializer": "looks_linear", "width": 5}, "initializer", "an even width"),
        ({"initializer": "looks_linear", "width": (6, 5, 6)}, "initializer", "an even width"),
        ({"initializer": "kumar"}, "initializer", "a slope at 0"),
        ({"dataset": "gaussian"}, "dataset", "labels"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(changes: dict[str, object], field: str, allowed: str) -> None:
    spec = Spec(depth=3, steps=2).replace(**changes)
    with pytest.raises(BadInput) as caught:
        train(spec)
    assert caught.value.field == field
    assert allowed in caught.value.allowed
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"normalization": "batch", "batch_size": 2},
        {"normalization": "layer", "batch_size": 1},
        {"normalization": "rms", "batch_size": 1},
        {"residual": "plain", "width": "8-8-8"},
        {"residual": "zero", "depth": 1, "width": 8},
        {"normalization": "batch", "width": (8, 1, 5)},
        {"normalization": "layer", "width": (8, 1, 5), "initializer": "orthogonal"},
        {"initializer": "looks_linear", "width": (6, 4, 8)},
    ],
    ids=str,
)
def test_what_is_at_the_border_is_trained(changes: dict[str, object]) -> None:
    history = _finished(train(Spec(depth=3, width=8, steps=5).replace(**changes), 2, layer_statistics=True))
    assert history.diverged_at == (None, None)
    assert np.isfinite(history.loss).all()


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_every_data_set_can_be_trained_on(name: str, normalization: str) -> None:
    spec = Spec(depth=2, width=16, dataset=name, activation="tanh", normalization=normalization, steps=100)
    history = _finished(train(spec.replace(optimizer="adam", learning_rate=0.01), 2))
    assert set(history.statuses) <= {"learned", "learning"}
    data = load(name)
    assert history.chance == data.chance
    assert (history.final_train_accuracy > data.chance).all()
    assert (history.final_train_accuracy <= 1).all()
    if DATASETS[name].is_regression:
        np.testing.assert_allclose(history.final_train_accuracy, 1 - history.final_loss / data.constant_loss, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_the_narrowest_and_deepest_network_runs() -> None:
    spec = Spec(depth=200, width=1, batch_size=1, steps=2, dataset="moons", activation="tanh")
    training = train(spec, 2, layer_statistics=True, every=1)
    snapshots = list(training)
    history = training.history()
    assert [snapshot.step for snapshot in snapshots] == [0, 1, 2]
    assert np.isfinite(history.loss).all()
    assert all(snapshot.layers is not None for snapshot in snapshots)
    assert [s.layers.activation_deviation.shape for s in snapshots if s.layers] == [(2, 200)] * 3
    assert len(training.ensemble.weights) == 201


def test_at_or_above_the_training_set_the_batch_is_the_whole_set() -> None:
    total = len(load("blobs").train_x)
    spec = Spec(depth=2, width=10, dataset="blobs", steps=10)
    runs = {size: train(spec.replace(batch_size=size), 2, every=10) for size in (total - 1, total, total + 1, 4096)}
    histories = {size: _finished(run) for size, run in runs.items()}
    for size in (total + 1, 4096):
        assert all(_same(runs[total], number, runs[size], number) for number in range(2))
        np.testing.assert_array_equal(histories[total].loss, histories[size].loss)
    assert not _same(runs[total], 0, runs[total - 1], 0)


@EACH_BLOCK
def test_a_batch_larger_than_the_data_is_the_data_with_each_block(normalization: str, residual: str) -> None:
    smallest = min(LABELLED, key=lambda name: len(load(name).train_x))
    total = len(load(smallest).train_x)
    spec = Spec(depth=2, width=7, dataset=smallest, normalization=normalization, residual=residual, steps=5)
    exact, larger = (train(spec.replace(batch_size=size), 2) for size in (total, 4096))
    np.testing.assert_array_equal(_finished(exact).loss, _finished(larger).loss)
    assert all(_same(exact, number, larger, number) for number in range(2))


def test_a_training_set_smaller_than_everything() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    data = Data(x, np.array([0, 1, 1]), x, np.array([0, 1, 1]), 2)
    spec = Spec(depth=1, width=8, dataset="moons", steps=300, learning_rate=0.5)
    history = _finished(train(spec, 3, data=data, layer_statistics=True))
    assert history.statuses == ("learned",) * 3
    np.testing.assert_array_equal(history.final_train_accuracy, 1)
    np.testing.assert_array_equal(history.final_test_accuracy, 1)
    np.testing.assert_allclose(history.loss[:, -1], history.final_loss)
    assert history.chance == pytest.approx(2 / 3)
    assert history.constant_loss == pytest.approx(-(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3))


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(BadInput, match=r"dataset: 'gaussian'.*labels"):
        train(Spec(dataset="gaussian"))


# Divergence


def _first_step_beyond_the_numbers(spec: Spec, member: Member) -> int | None:
    """Return the number of updates after which the plain loop's loss on the next batch is not finite."""
    loop = _Loop(spec, member, load(spec.dataset), torch.float32)
    return next((step for step in range(spec.steps) if not math.isfinite(loop.step())), None)


WILD = (
    Member("random_normal(stddev=0.5)", 0, 0.05),
    Member("random_normal(stddev=0.5)", 1, 0.5),
    Member("random_normal(stddev=1)", 2, 0.05),
    Member("he_normal", 3, 1e10),
    Member("random_normal(stddev=1e20)", 4, 0.05),
)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_divergence_is_marked_at_its_step_and_touches_nobody_else(optimizer: str) -> None:
    spec = Spec(depth=6, width=32, optimizer=optimizer, steps=40)
    calm = [Member("he_normal", seed, 0.02) for seed in range(3)]
    expected = tuple(_first_step_beyond_the_numbers(spec, member) for member in WILD)
    assert None not in expected
    assert len(set(expected)) >= 3
    assert expected[-1] == 0  # beyond the numbers before any update

    # Recorded at the ends only: the step in between comes from the batches.
    mixed = [calm[0], *WILD[:2], calm[1], *WILD[2:], calm[2]]
    training = Training(spec, mixed, every=40)
    history = _finished(training)
    assert history.diverged_at == (None, *expected[:2], None, *expected[2:], None)
    assert [history.statuses[number] for number in (1, 2, 4, 5, 6)] == ["diverged"] * 5

    alone = Training(spec, calm, every=40)
    undisturbed = _finished(alone)
    for number, place in enumerate((0, 3, 7)):
        assert _same(alone, number, training, place)
        assert history.statuses[place] == undisturbed.statuses[number] != "diverged"
        np.testing.assert_array_equal(history.loss[place], undisturbed.loss[number])


@pytest.mark.parametrize("wild", WILD, ids=str)
def test_a_diverged_member_is_told_in_every_snapshot_after_its_step(wild: Member) -> None:
    training = Training(Spec(depth=6, width=32, steps=10), [wild, Member("he_normal", 0, 0.05)], every=1)
    snapshots = list(training)
    left = snapshots[-1].diverged_at[0]
    assert left is not None
    assert left < 10
    for snapshot in snapshots:
        assert snapshot.diverged_at[1] is None
        assert np.isfinite([snapshot.loss[1], snapshot.train_accuracy[1], snapshot.test_accuracy[1]]).all()
        if snapshot.step < left:
            assert snapshot.diverged_at[0] is None
        if snapshot.step > left:
            assert snapshot.diverged_at[0] == left
            assert not np.isfinite(snapshot.loss[0])
            assert np.isnan(snapshot.train_accuracy[0])
            assert np.isnan(snapshot.test_accuracy[0])
    history = training.history()
    assert history.statuses[0] == "diverged" != history.statuses[1]
    assert not np.isfinite(history.final_loss[0])
    assert np.isnan(history.final_train_accuracy[0])
    assert np.isnan(history.final_test_accuracy[0])


def test_the_step_of_divergence_does_not_depend_on_how_densely_a_run_is_recorded() -> None:
    spec = Spec(depth=6, width=32, batch_size=16, steps=40)
    members = [
        Member(f"random_normal(stddev={stddev})", seed, rate)
        for stddev in ("0.5", "1")
        for seed in range(3)
        for rate in (0.05, 0.5, 3.0)
    ]
    dense, sparse = (_finished(Training(spec, members, every=every)).diverged_at for every in (1, 40))
    assert None not in sparse
    assert dense == sparse


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "learned"),
        (math.nextafter(0.5, 0), "learned"),
        (0.5, "learning"),
        (math.nextafter(0.97, 0), "learning"),
        (0.97, "stalled"),
        (1.0, "stalled"),
        (1.03, "stalled"),
        (math.nextafter(1.03, 2), "worse"),
        (10.0, "worse"),
        (math.nextafter(10.0, 11), "diverged"),
        (1e30, "diverged"),
        (math.inf, "diverged"),
        (math.nan, "diverged"),
    ],
)
def test_status_at_its_bounds(share: float, expected: str) -> None:
    assert status(share, 1.0, None) == expected
    assert status(2 * share, 2.0, None) == expected
    assert status(share, 1.0, 3) == "diverged"
    assert expected in STATUSES


@pytest.mark.parametrize("steps", [1, 2, 10, 149, 300, 599, 600, 601, 5000, 100_000])
def test_dense_steps_are_all_early_and_ever_sparser_and_never_too_many(steps: int) -> None:
    recorded = np.array(dense_steps(steps))
    gaps = np.diff(recorded)
    assert recorded[0] == 0
    assert recorded[-1] == steps
    assert len(recorded) == min(steps + 1, len(recorded)) <= 601
    assert (gaps[: min(149, steps)] == 1).all()
    assert gaps.min() >= 1
    assert gaps.max() <= max(1, 0.02 * steps)


def test_recorded_steps_that_are_listed() -> None:
    assert recorded_steps(20, (3, 15, 40)) == (0, 3, 15, 20)


@pytest.mark.parametrize(("loss", "expected"), [(0.0, "learned"), (1e-9, "diverged"), (math.nan, "diverged")])
def test_status_where_a_constant_is_perfect(loss: float, expected: str) -> None:
    assert status(loss, 0.0, None) == expected


# Recording


@given(st.integers(1, 100_000))
def test_recorded_steps_begin_at_the_start_and_end_at_the_end(steps: int) -> None:
    recorded = recorded_steps(steps)
    assert recorded == tuple(sorted(set(recorded)))
    assert (recorded[0], recorded[-1]) == (0, steps)
    assert set(range(min(4, steps) + 1)) <= set(recorded)
    gaps = np.diff(recorded)
    assert gaps.max() <= max(1, steps / 40)
    assert len(recorded) <= min(steps + 1, 85)
    if steps >= 400:
        assert 40 <= len(recorded) <= 50


@given(st.integers(1, 5000), st.integers(1, 6000))
def test_recorded_steps_every_so_many(steps: int, every: int) -> None:
    recorded = recorded_steps(steps, every)
    assert set(recorded) == {step for step in range(steps + 1) if step % every == 0 or step == steps}
    assert recorded == tuple(sorted(recorded))


@pytest.mark.parametrize("every", [None, 1, 7, 100])
def test_the_iterator_ends_after_the_last_step_and_stays_ended(every: int | None) -> None:
    training = train(Spec(depth=1, width=4, dataset="moons", steps=23), 2, every=every)
    assert iter(training) is training
    assert not training.is_finished
    steps = []
    for snapshot in training:
        steps.append(snapshot.step)
        assert training.progress == snapshot.step / 23
        assert training.is_finished == (snapshot.step == 23)
    assert tuple(steps) == recorded_steps(23, every) == training.schedule
    weights = training.ensemble.weights[0].clone()
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(training)
    assert torch.equal(training.ensemble.weights[0], weights)
    assert [snapshot.step for snapshot in training.snapshots] == steps


def test_shapes_of_a_history() -> None:
    training = train(Spec(depth=2, width=4, dataset="blobs", steps=9, seed=4), 3, every=2)
    snapshots = list(training)
    history = training.history()
    assert history.steps == (0, 2, 4, 6, 8, 9)
    assert [member.seed for member in history.members] == [4, 5, 6]
    for name in ("loss", "train_accuracy", "test_accuracy"):
        values = getattr(history, name)
        assert values.shape == (3, 6)
        assert values.dtype == np.float64
        for column, snapshot in enumerate(snapshots):
            np.testing.assert_array_equal(values[:, column], getattr(snapshot, name))
    for name in ("final_loss", "final_train_accuracy", "final_test_accuracy"):
        assert getattr(history, name).shape == (3,)
    assert len(history.diverged_at) == len(history.statuses) == 3
    assert history.is_complete
    counts = np.bincount(load("blobs").train_y)
    assert history.chance == pytest.approx(counts.max() / counts.sum())


def test_the_history_of_an_unfinished_run_is_that_so_far() -> None:
    training = train(Spec(depth=2, width=8, steps=40), 2, every=10)
    whole = train(Spec(depth=2, width=8, steps=20), 2, every=10)
    for _ in range(3):
        next(training)
    so_far, expected = training.history(), _finished(whole)
    assert so_far.steps == (0, 10, 20)
    assert not so_far.is_complete
    for name in ("loss", "train_accuracy", "test_accuracy", "final_loss", "final_test_accuracy"):
        np.testing.assert_array_equal(getattr(so_far, name), getattr(expected, name))
    # Asking for it has not moved the run.
    straight = train(Spec(depth=2, width=8, steps=40), 2, every=10)
    np.testing.assert_array_equal(_finished(training).loss, _finished(straight).loss)


def test_snapshots_do_not_change_while_the_run_goes_on() -> None:
    training = train(Spec(depth=2, width=8, steps=5), 2, every=1, layer_statistics=True)
    first = next(training)
    assert first.layers is not None
    kept = [first.loss.copy(), first.train_accuracy.copy(), first.layers.activation_deviation.copy()]
    for _ in training:
        pass
    found = [first.loss, first.train_accuracy, first.layers.activation_deviation]
    assert all(np.array_equal(a, b) for a, b in zip(kept, found, strict=True))


def test_probabilities_are_the_softmax_of_each_network() -> None:
    spec = Spec(depth=2, width=8, activation="tanh", steps=5)
    members = [Member("glorot_normal", 0, 0.1), Member("torch_default", 3, 0.2)]
    training = Training(spec, members)
    for _ in training:
        pass
    x = load("digits").test_x[:20]
    found = training.probabilities(x)
    assert found.shape == (2, 20, 10)
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-6)
    for number in range(2):
        outputs = plain_network("tanh", training.ensemble, number)(torch.tensor(x)).detach()
        np.testing.assert_allclose(found[number], torch.softmax(outputs, dim=1), rtol=1e-4, atol=1e-7)


@given(st.integers(0, 2**31 - 1), st.integers(1, 64))
@example(2**31 - 1, 3)
def test_seeds_of_a_run_are_consecutive_different_and_in_range(seed: int, count: int) -> None:
    seeds = seeds_of(Spec(seed=seed), count)
    assert seeds[0] == seed
    assert len(set(seeds)) == count
    for one in seeds:
        assert Spec(seed=one).seed == one


# Layer statistics


def _deviation(values: Tensor) -> float:
    """Return the standard deviation; scaled, as squares of 1e-160 are lost even in double precision."""
    scale = float(values.detach().abs().max())
    return scale * float((values.detach() / scale).numpy().std())


def _statistics(training: Training, number: int) -> tuple[list[float], list[float]]:
    """Return the deviations of activations and gradients by autograd, in double precision, on 64 training samples."""
    data, activation = training.data, training.spec.activation
    net = plain_network(activation, training.ensemble.to(torch.float64), number)
    h = torch.tensor(data.train_x[:64], dtype=torch.float64)
    activations, pre_activations = [], []
    for module in net:
        h = module(h)
        if isinstance(module, nn.Linear):
            pre_activations.append(h)
            h.retain_grad()
        else:
            activations.append(_deviation(h))
    if data.is_classification:
        loss = F.cross_entropy(h, torch.tensor(data.train_y[:64]), reduction="sum")
    else:
        loss = F.mse_loss(h, torch.tensor(data.train_y[:64], dtype=torch.float64), reduction="sum") / data.outputs
    loss.backward()
    gradients = [z.grad for z in pre_activations[:-1]]
    return activations, [_deviation(grad) for grad in gradients if grad is not None]


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu", "sigmoid"])
def test_layer_statistics_are_those_of_autograd(activation: str) -> None:
    spec = Spec(depth=5, width=12, activation=activation, steps=6)
    training = Training(spec, CROWD[:4], every=3, layer_statistics=True)
    for snapshot in training:
        assert snapshot.layers is not None
        assert snapshot.layers.activation_deviation.shape == (4, 5)
        assert snapshot.layers.gradient_deviation.shape == (4, 5)
        for number in range(4):
            activations, gradients = _statistics(training, number)
            np.testing.assert_allclose(snapshot.layers.activation_deviation[number], activations, rtol=1e-9)
            np.testing.assert_allclose(snapshot.layers.gradient_deviation[number], gradients, rtol=1e-9)


def test_layer_statistics_of_a_regression() -> None:
    spec = Spec(depth=3, width=9, activation="tanh", dataset="moons", steps=2)
    training = Training(spec, CROWD[:2], layer_statistics=True, data=_regression())
    for snapshot in training:
        assert snapshot.layers is not None
        for number in range(2):
            activations, gradients = _statistics(training, number)
            np.testing.assert_allclose(snapshot.layers.activation_deviation[number], activations, rtol=1e-9)
            np.testing.assert_allclose(snapshot.layers.gradient_deviation[number], gradients, rtol=1e-9)


def test_layer_statistics_are_absent_unless_asked_for() -> None:
    assert all(snapshot.layers is None for snapshot in train(Spec(depth=1, width=4, dataset="moons", steps=3)))


@pytest.mark.parametrize(("activation", "depth"), [("relu", 50), ("tanh", 50), ("relu", 120)])
def test_a_vanishing_network_has_small_statistics_and_no_zeros(activation: str, depth: int) -> None:
    """ReLU with N(0, 0.01^2) at 50 layers is at 1e-60, far below single precision, and its square below double."""
    spec = Spec(depth=depth, width=64, activation=activation, initializer="random_normal(stddev=0.01)", steps=1)
    training = train(spec, 2, layer_statistics=True, every=1)
    first = next(training).layers
    assert first is not None
    for number in range(2):
        activations, gradients = _statistics(training, number)
        np.testing.assert_allclose(first.activation_deviation[number], activations, rtol=1e-9)
        np.testing.assert_allclose(first.gradient_deviation[number], gradients, rtol=1e-9)
    for values in (first.activation_deviation, first.gradient_deviation):
        assert np.isfinite(values).all()
        assert (values > 0).all()
    # By eq. q' = 64 sigma^2 q / 2 for ReLU a layer has a factor of about 0.057, for tanh 0.08.
    assert first.activation_deviation[:, -1].max() < 0.1 ** (depth - 2)
    assert first.gradient_deviation[:, 0].max() < 0.1 ** (depth - 2)


def test_layer_statistics_of_nothing_are_zero() -> None:
    layers = next(train(Spec(depth=3, width=5, initializer="zeros"), layer_statistics=True)).layers
    assert layers is not None
    np.testing.assert_array_equal(layers.activation_deviation, 0)
    np.testing.assert_array_equal(layers.gradient_deviation, 0)
