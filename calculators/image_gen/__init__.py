"""Image generation with OpenVINO GenAI, as a node of a graph.

The way of one request, one file each: ``calculator`` (the node) -> ``request`` (fields -> GenerationRequest) ->
``pipelines`` (what the node was given) -> ``lane`` or ``process_lane`` (whose turn it is) -> ``engine`` (OpenVINO GenAI) ->
``images`` (uploads -> pixels -> files) -> ``response`` (JSON). The way of one load: ``loading`` -> ``options`` ->
``model_folder`` -> the lane.

Only ``engine`` imports OpenVINO, and only ``engine`` and ``images`` import numpy.
"""
