"""A ComfyUI-backed orchestration service: a widget's parameters in over HTTP, the link of a picture out.

The way of one request, each step one call in `pipeline.py`:

1. `api` decodes the body into a `WidgetRequest` and at the end turns the answer, or the error, into a response;
2. `widgets` checks the raw values, all complaints at once, and settles the seed;
3. `images` reads the pictures: decoded, oriented, bounded, the mask at its picture's size;
4. `models` finds the checkpoint and the LoRAs and sees that they fit;
5. `widgets` compiles values into a graph: the artist's workflow with the values in it;
6. `jobs` keeps the job, whose id is the `prompt_id` that the backend knows it by: from here on it ends, whatever dies;
   `models` fetches first what is not on the shelf, and keeps it there until the job's end;
7. `agents` lease it for a backend, and `comfy` runs the graph there and collects the rendered image;
8. `images` keeps it, `jobs` the end, and whoever asks gets a link that expires.

`app.py` joins the parts that `parts.py` and `backends.py` make as the settings say. `embedded` (a ComfyUI of our own
for machines without a GPU) and `demo_model` are programs beside the service, which starts them and never imports them.
"""
