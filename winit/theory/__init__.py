"""Mean-field theory: what a wide network does to a signal, and how far one of finite width strays from it.

In a wide network the pre-activations of a layer are Gaussian with mean 0; q is their second moment. With
weights of variance sigma_w^2 / fan_in and biases of variance sigma_b^2 the next layer has
q' = sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2, and gradients grow per layer by
chi_1 = sigma_w^2 E phi'(sqrt(q) z)^2, where z ~ N(0, 1) (Poole et al. 2016, arXiv:1606.05340, eq. 3 to 5;
Schoenholz et al. 2017, arXiv:1611.01232, eq. 5 to 7).

- `gaussian`: averages over one and two Gaussian pre-activations.
- `gains`: what keeps a moment from layer to layer.
- `edge`: the edge of chaos.
- `mean_field`: fixed points, depth scales, regimes, the phase diagram.
- `propagation`: moments through a network of given layers, with the error of a finite width.
"""

from winit.theory.edge import edge_of_chaos
from winit.theory.gains import TORCH_GAINS, gain, torch_gain
from winit.theory.gaussian import (
    closed_covariances,
    covariance,
    covariance_of_slopes,
    gaussian_mean,
    product_mean,
    second_moment,
    second_moment_of_slope,
)
from winit.theory.mean_field import (
    SIGMA,
    EdgeCurve,
    FixedPoint,
    MeanField,
    PhaseDiagram,
    correlation_map,
    edge_curve,
    fixed_points,
    length_map,
    length_slope,
    mean_field,
    phase_diagram,
)
from winit.theory.propagation import Blocks, Course, Inputs, LayerLaw, Prediction, predict

__all__ = ["SIGMA", "TORCH_GAINS", "Blocks", "Course", "EdgeCurve", "FixedPoint", "Inputs", "LayerLaw", "MeanField"]
__all__ += ["PhaseDiagram", "Prediction", "closed_covariances", "predict"]
__all__ += ["correlation_map", "covariance", "covariance_of_slopes", "edge_curve", "edge_of_chaos", "fixed_points"]
__all__ += ["gain", "gaussian_mean", "length_map", "length_slope", "mean_field", "phase_diagram", "product_mean"]
__all__ += ["second_moment", "second_moment_of_slope", "torch_gain"]
