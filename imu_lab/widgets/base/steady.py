"""JavaScript that loses nothing of what Python says to a widget whose code comes late to the page.

anywidget 0.11 waits two seconds for a model's code. Where that takes longer, on a busy machine or for a large bundle,
every later message to the model is thrown away, without a word: a figure stays empty, a histogram never follows. The
functions here rest on what anywidget and ipywidgets keep privately (``_handle_comm_msg``, ``state_change``, ``comm``),
which a browser test looks at.
"""

from __future__ import annotations

PATIENCE = 10_000  # milliseconds that messages wait for ``ready``; all others of the kernel wait behind them

# ``(model, ready)``: call it in ``initialize``; the promise that it returns is kept once ``ready`` is and the model
# knows all that Python has said. What is said before ``ready`` waits in the model's own queue. Where the code of the
# widget came after anywidget's two seconds, or ``ready`` after all patience, the model listens again and asks Python
# for its state. anywidget hands out a model's methods only, so a change that is never sent tells which model it is.
STEADY = f"""(model, ready = Promise.resolve()) => {{
  let self;
  const find = found => self = found;
  model.on("change:_found", find); model.set("_found", true); model.off("change:_found", find);
  delete self._buffered_state_diff?._found;
  const tooLong = Promise.race([
    ready.then(() => false), new Promise(done => setTimeout(() => done(true), {PATIENCE}))]);
  self.state_change = self.state_change.then(() => tooLong);
  const lost = self._handle_comm_msg({{ content: {{ data: {{}} }} }}).then(() => tooLong, () => true);
  const askAgain = () => new Promise(done => {{
    if (!self.comm) return done();
    const hear = Object.getPrototypeOf(Object.getPrototypeOf(self))._handle_comm_msg;
    self.comm.on_msg(async message => {{
      await hear.call(self, message);
      if ("_esm" in (message.content.data.state ?? {{}})) done() }});
    self.comm.send({{ method: "request_state" }}, {{}});
  }});
  return Promise.all([lost, ready]).then(([missed]) => missed ? askAgain() : null);
}}"""
