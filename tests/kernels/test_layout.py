import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_isa.kernels.design import nodes_of
from bayes_isa.kernels.layout import assemble
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import LANES
from bayes_isa.kernels.timeline import Cuts, Timeline

PANELS_OF = st.lists(st.sampled_from(ORDERS), min_size=1, max_size=40)


def laid_out(patients, share):
    """Panels of one day each, an event after a share of each patient's; exposures that tell patient and day."""
    sizes = [len(orders) for orders in patients]
    start = np.concatenate([np.arange(float(n)) for n in sizes])
    cuts = Cuts(np.repeat(np.arange(len(sizes)), sizes), start, start + 1.0, np.concatenate(patients))
    event = np.array([max(1.0, np.floor(share * n)) for n in sizes])
    nothing = np.zeros(len(sizes) + 1, dtype=np.int64)
    timeline = Timeline(nothing, np.empty(0), nothing, np.empty(0), event)
    return cuts, event, assemble(cuts, timeline, lambda patient, day: (1.0 + patient, 2.0 * day))


@settings(max_examples=60, deadline=None)
@given(patients=st.lists(PANELS_OF, min_size=1, max_size=4), share=st.floats(0.0, 1.0))
def test_every_panel_has_its_nodes_in_strips(patients, share):
    cuts, event, design = laid_out(patients, share)
    occupied = np.zeros(design.node_day.size, dtype=bool)
    for p, patient in enumerate(cuts.patient):
        first, order = nodes_of.py_func(design.strips[patient], design.place[p])
        nodes = design.node_offset[patient] + first + LANES * np.arange(order)
        assert order >= cuts.order[p]
        assert not occupied[nodes].any()
        occupied[nodes] = True
        assert np.all((design.node_day[nodes] > cuts.start[p]) & (design.node_day[nodes] < cuts.end[p]))
        np.testing.assert_allclose(design.node_weight[nodes].sum(), 1.0)
        assert np.all(design.node_effect[nodes] == 1.0 + patient)
        np.testing.assert_allclose(design.node_dexamethasone[nodes], 2.0 * design.node_day[nodes])
        up_to_event = first < LANES * np.array(ORDERS) @ design.strips[patient, : len(ORDERS)]
        assert up_to_event == (cuts.end[p] <= event[patient])
    assert not design.node_weight[~occupied].any()
    assert np.isfinite(design.node_log_day).all()


def test_strips_with_room_take_panels_of_lower_orders():
    high, middle, low = ORDERS
    _, _, design = laid_out([[high] * 3 + [middle] * 6 + [low] * 20], 1.0)
    # 3 + 5 in a strip of the highest order, the one left of the middle order with 7 of the lowest, 13 of those remain
    assert design.strips.tolist() == [[1, 1, 2, 0, 0, 0]]


def test_full_strips_take_nothing():
    high, middle, low = ORDERS
    _, _, design = laid_out([[low] * 8 + [high] * 16 + [middle] * 8], 1.0)
    assert design.strips.tolist() == [[2, 1, 1, 0, 0, 0]]
