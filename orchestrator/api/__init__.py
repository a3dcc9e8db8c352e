"""The HTTP edge: the only home of aiohttp.web. Turns requests into pipeline calls and errors into problems."""
