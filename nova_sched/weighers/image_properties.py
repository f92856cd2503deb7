"""ImagePropertiesWeigher: instances go to, or keep away from, instances whose images are like their own."""

import numpy as np

from nova_sched.filters.options import Kind, Option
from nova_sched.weighers.base import Weigher

WEIGHTS = Option(
    "image_props_weight_setting",
    Kind.WEIGHTS,
    (),
    "Weights of image properties for the ImagePropertiesWeigher: name=weight; all weigh 1 where empty.",
)


class ImagePropertiesWeigher(Weigher):
    """For each property of the request's image, the instances on the host whose image has the same value, times the
    property's weight of ``image_props_weight_setting`` (1 for all if that is empty, else 0 for those that it does
    not name): more is better."""

    name = "ImagePropertiesWeigher"
    option = "image_props_weight_multiplier"
    options = (WEIGHTS,)
    default_multiplier = 0.0
    zero_is_off = True
    static = True

    def seen(self, request):
        return tuple(sorted(request.image_properties.items()))

    def raw(self, table, rows, request, policy, scope):
        setting = dict(policy.image_props_weight_setting)
        weights = {item: setting.get(item[0], 0.0) if setting else 1.0 for item in self.seen(request)}
        if not any(weights.values()):
            return None
        counts, values = scope.image_counts(), np.zeros(len(rows))
        for item, weight in weights.items():
            column = counts.column(item)
            if column is not None:
                values += weight * column.take(rows)
        return values
