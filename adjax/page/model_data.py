"""A trained transformer as data, for adjax/page/model.js to run."""

from collections.abc import Mapping
from typing import Any

from flax import traverse_util
import numpy as np

from adjax import spaces
from adjax.learners import networks
from adjax.page import pack
from adjax.storage import weights

# Kinds of scenes that model.js has environments of.
ENVIRONMENTS = 'grid', 'arms'
_KIND = 'adjax.models.transformer:Config'


def of(
    header: dict[str, Any], nested: Mapping[str, Any]
) -> dict[str, Any] | None:
  """The model of a file of weights, or None if the page cannot run it.

  It runs transformers over ids, whole numbers and quantities that have bounds:
  no LSTM, no images, no digits.

  Args:
    header: of storage.weights.
    nested: the weights [seeds], as it loads them; of the first seed.

  Returns:
    JSON: `layers`, `heads`, `width`, `window`, `actions`; `features`, what one
    entry of an observation adds to the inputs, in their order, as a row of a
    table of so many (`entry`, `low`, `table`) or as a number (`entry`,
    `middle`, `half`); `reward`, its `mean` and `deviation`; `tensors`, [name,
    shape] of each; `weights`, these one after another in float16.
  """
  config = header['model']
  if config['kind'] != _KIND:
    return None  # Nothing of it is imported, to be looked at.
  params: Any = weights.params(header, nested)
  space = spaces.Described(
      spaces.from_data(header['observation']), header['actions'])
  features = _features(spaces.observation(space).parts)
  embedding = params['params']['embedding']
  # What is observed may have weights of its own, as images have.
  if features is None or set(embedding) != {'Dense_0', 'statistics'}:
    return None
  # An action or none of them, a reward, and whether an episode ended.
  rows = sum(x.get('table', 1) for x in features) + header['actions'] + 1 + 2
  if rows != len(embedding['Dense_0']['kernel']):
    return None
  scale = embedding['statistics']
  flat = traverse_util.flatten_dict(params['params'], sep='/')
  leaves = [(name, x) for name, x in flat.items()
            if name != 'embedding/statistics']
  return {
      **{name: config[name] for name in ('layers', 'heads', 'width', 'window')},
      'actions': header['actions'],
      'features': features,
      'reward': {'mean': float(scale.mean[-1]),
                 'deviation': float(scale.deviation[-1])},
      'tensors': [[name, list(x.shape)] for name, x in leaves],
      'weights': pack.halves(*(x for _, x in leaves)),
  }


def _features(parts: tuple[spaces.Part, ...]) -> list[dict[str, Any]] | None:
  """As networks.Observe makes them; None if they are not of these kinds."""
  features: list[dict[str, Any]] = []
  start = 0
  for part in parts:
    if not part.bounded.all() or len(part.shape) == 3:  # As images are.
      return None
    low, high = (x.ravel().astype(np.float32) for x in (part.low, part.high))
    values = part.values.ravel()
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-30)
    features += [
        {'entry': start + int(i), 'low': int(low[i]), 'table': int(values[i])}
        for i in np.flatnonzero(
            part.is_id | (values > 2) & (values <= networks.LARGEST_ID))]
    if not part.is_id:
      features += [
          {'entry': start + i, 'middle': float(middle[i]),
           'half': float(half[i])} for i in range(part.size)]
    start += part.size
  return features
