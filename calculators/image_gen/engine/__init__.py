"""The only package that speaks to OpenVINO GenAI: loads a model, draws pictures with it.

GenAI is native code with sharp edges (seen with release 2026.4.1; the tests hold each of them): requests are checked before
they come here, and these files take care of the rest.

* One generation at a time: overlapping calls fail. Whoever owns an Engine (a lane) calls it from one thread.
* The first picture after a load must not be tiny, or all later ones are spoilt: a warm-up draws one of each kind.
* A callback that raises ends the process: ours returns "stop" instead.
* A generation that fails leaves its shapes behind, and the next, smaller one fails with them: the error says that it is so, and
  lanes load anew.
* Without a seed GenAI always uses 42: every request carries one.
* Pictures of one request share a stream of noise, so that a picture depends on its place in the batch. Here each has a seed of
  its own (``rng_seed + k``), and asking for that seed alone gives the same picture.
* With ``timestep_spacing: trailing``, some step counts run one step too many and give noise. The callback tells how many will be
  run; then the next smaller count that is right is taken, and the result names it.
* The result's memory is overwritten by the next call: it is encoded before that.
* From pictures GenAI draws one at a time (into a mask it cannot draw more, and the others would share noise): several are drawn in
  turn.
* A pipeline that was made of another one can be without a scheduler, and crashes when it draws: each gets one of its own.
* A T5 text encoder (Stable Diffusion 3, FLUX) keeps length and number of the texts of its first call: the model is loaded anew for
  another ``max_sequence_length``, and Stable Diffusion 3 always gets a negative text.
* Drawing into a mask changes the rest of the picture slightly: it is put back.
* LoRA adapters that come and go spoil pictures: see ``lora``.

At load: ``loading`` (folder -> pipelines), ``devices`` (which there are), ``lora`` (its adapters), ``reasons`` (OpenVINO's errors,
readable). For a request: ``drawing``, ``watch`` (its callback), ``noise`` (its seeds), ``previews`` (its partial images),
``tokens`` (how long its prompts are).
"""

from calculators.image_gen.engine.drawing import Engine

__all__ = ["Engine"]
