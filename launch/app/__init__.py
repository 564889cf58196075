"""The page of scripts/app.py. `page` puts the tabs together; `requests`, `trainings`, `uploads`, `words` and `model` do
the work and know nothing of Gradio."""
