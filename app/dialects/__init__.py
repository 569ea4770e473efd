"""The two compatible dialects: other services' clients are understood here, by changing a base URL.

A dialect is a thin translation: what a client says becomes a wish of `app.jobs.spec`, a job like any other; the client
is kept waiting until it has ended; and its pictures are handed over in the size and the shape that client expects.

    sizing     which size to develop where a client asks for one that the model does not have
    asking     queueing what a dialect's client wants, once also if it asks again, and waiting for it
    pictures   a finished picture, or a preview, as large as it was asked for
    errors     what goes wrong, in each dialect's own shape
    openai     the OpenAI Images API in our words;  openai_answers  and ours in its
    sdapi      AUTOMATIC1111's API in our words;  sdapi_answers  and ours in its
"""
