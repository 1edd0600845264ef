"""The numbers drawn of a spectrum."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd

import imu_lab as imu
from imu_lab.studies.spectrum import Spectrum


def test_shares_are_added_up_by_powers_of_ten() -> None:
    relative = np.array([30.0, 12.0, 2.0, 2e-5, 1e-14])
    columns = {"relative": relative, "gradient": [0.5, 0.2, 0.2, 0.1, 0.0], "step": [0.0, 0.1, 0.2, 0.6, 0.1]}
    figure = imu.plot_spectrum(
        Spectrum(pd.DataFrame({"curvature": relative, **columns}), {"rho": 0.1, "curvature": "train"})
    )
    drawn = {trace.meta["role"]: trace for trace in figure.data}
    assert list(drawn["gradient"].x) == [
        "flat, below 10<sup>-9</sup>",
        "10<sup>-5</sup> to 10<sup>-4</sup>",
        "1 to 10",
        "10 to 100",
    ]
    assert cases.close(drawn["directions"].y, [0.2, 0.2, 0.2, 0.4])
    assert cases.close(drawn["gradient"].y, [0.0, 0.1, 0.2, 0.7])
    assert cases.close(drawn["step"].y, [0.1, 0.6, 0.2, 0.1])
