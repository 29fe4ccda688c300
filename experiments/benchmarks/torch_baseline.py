"""The same algorithm as a PyTorch user would write it, to measure beside.

Algorithm Distillation of our shape: one token a step, pre-norm blocks, causal
scaled_dot_product_attention, loss at every position, AdamW, gradients clipped;
all histories are on the device and pieces are cut there. It acts by encoding
its window anew at every step, as the public code bases do. Needs the extra
`torch`; nothing else in adjax imports it.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
  """A pre-norm transformer block [B, L, D]."""

  def __init__(self, width, heads, feed_forward):
    super().__init__()
    self.heads = heads
    self.attention_norm = nn.LayerNorm(width, bias=False)
    self.qkv = nn.Linear(width, 3 * width, bias=False)
    self.out = nn.Linear(width, width, bias=False)
    self.perceptron_norm = nn.LayerNorm(width, bias=False)
    self.up = nn.Linear(width, feed_forward)
    self.down = nn.Linear(feed_forward, width)

  def forward(self, x):
    batch, length, width = x.shape
    q, k, v = self.qkv(self.attention_norm(x)).view(
        batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
    hidden = F.gelu(self.up(self.perceptron_norm(x)), approximate='tanh')
    return x + self.down(hidden)


class Model(nn.Module):
  """Dark Room steps in, logits of the next action at every one of them out."""

  def __init__(
      self, layers, width, heads, feed_forward, window, cells, actions):
    super().__init__()
    self.cells, self.actions = cells, actions
    # Two coordinates as symbols and as numbers, action, reward, done.
    self.embed = nn.Linear(2 * cells + 2 + actions + 1 + 2, width)
    self.position = nn.Parameter(torch.zeros(window, width))
    self.blocks = nn.Sequential(
        *(Block(width, heads, feed_forward) for _ in range(layers)))
    self.norm = nn.LayerNorm(width, bias=False)
    self.head = nn.Linear(width, actions)

  def forward(self, obs, action, reward, done):
    """sequence_model.Inputs [B, L] to logits [B, L, A]; obs [B, L, 2]."""
    parts = [
        F.one_hot(obs, self.cells).flatten(2), obs / (self.cells - 1),
        F.one_hot(action + 1, self.actions + 1), reward[..., None],
        done[..., None]]
    x = self.embed(torch.cat([part.float() for part in parts], -1))
    x = self.blocks(x + self.position[:x.shape[1]])
    return self.head(self.norm(x))


def make(shape, window, threads, device='cpu', cells=9, actions=5):
  """A model by the fields of transformer.Config.

  Returns:
    The module; the same compiled, or itself where there is no compiler; which
    of the two, in words.
  """
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  # Or the shapes of models made before would make it compile for any shape.
  torch._dynamo.reset()
  model = Model(shape['layers'], shape['width'], shape['heads'],
                shape['feed_forward'], window, cells, actions).to(device)
  try:
    torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
  except Exception:
    return model, model, 'PyTorch, eager'
  return model, torch.compile(model, dynamic=False), 'PyTorch, compiled'


def trainer(model, compiled, inputs, targets, batch_size, length):
  """A function of no arguments that does one update, and gives its loss.

  Args:
    model: the module.
    compiled: what is run.
    inputs: NumPy arrays obs [S, T, 2], action, reward and done [S, T].
    targets: actions [S, T].
    batch_size: B.
    length: L.
  """
  optimizer = torch.optim.AdamW(
      model.parameters(), 2e-3, betas=(0.9, 0.98), weight_decay=0.01,
      fused=True)
  device = next(model.parameters()).device
  inputs = [torch.tensor(x, device=device) for x in inputs]
  inputs = [x if x.is_floating_point() else x.long() for x in inputs]
  targets = torch.tensor(targets, device=device).long()
  streams, steps = targets.shape

  def update():
    stream = torch.randint(streams, (batch_size, 1), device=device)
    time = torch.randint(steps - length + 1, (batch_size, 1), device=device)
    time = time + torch.arange(length, device=device)
    logits = compiled(*(x[stream, time] for x in inputs))
    loss = F.cross_entropy(
        logits.flatten(0, 1), targets[stream, time].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()

  return update


def actor(model, compiled, goals, window, size=9):
  """A function (steps) -> rewards that acts with a full window behind it.

  Args:
    model: the module.
    compiled: what is run.
    goals: NumPy cells [N, 2], one for each environment.
    window: W, steps encoded anew for every action.
    size: cells along a side.
  """
  device = next(model.parameters()).device
  goals = torch.tensor(goals, device=device).long()
  num = len(goals)
  moves = torch.tensor(
      [(-1, 0), (1, 0), (0, 1), (0, -1), (0, 0)], device=device)
  obs = torch.full((num, window, 2), size // 2, device=device)
  action = torch.full((num, window), -1, device=device)
  reward, done = torch.zeros(2, num, window, device=device)

  @torch.inference_mode()
  def act(steps):
    paid = 0.0
    for t in range(1, steps + 1):
      logits = compiled(obs, action, reward, done)[:, -1]
      chosen = torch.multinomial(logits.softmax(-1), 1)[:, 0]
      cell = (obs[:, -1] + moves[chosen]).clamp(0, size - 1)
      now = (cell == goals).all(-1)
      ends = t % 20 == 0
      if ends:
        cell = torch.full_like(cell, size // 2)
      for ring, new in ((obs, cell), (action, chosen), (reward, now),
                        (done, float(ends))):
        ring.copy_(ring.roll(-1, 1))
        ring[:, -1] = new
      paid += now.sum().item()
    return paid

  return act
