"""What a person does on the studio's page, through a WebDriver."""

import json
import time

PATIENCE = 120
"""Seconds that an edit may take on a machine with much else to do."""


def shown(driver, css, patience=PATIENCE):
    """The first element of that selector that is shown."""
    return until(
        lambda: next((e for e in driver.find_elements("css selector", css) if e.is_displayed()), None), css, patience
    )


def until(look, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except Exception as error:
            if "stale" not in str(error).lower() and "no such element" not in str(error).lower():
                raise
        time.sleep(0.05)
    raise AssertionError(f"not there after {patience} s: {what}")


def write(driver, css, text):
    """Put a text into a field, in place of what stood there; begun anew where the page drew the field anew."""

    def written():
        field = shown(driver, css)
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.clear()
        field.send_keys(text)
        return field

    return until(written, f"a text in {css}")


def press(driver, css):
    """Press what is shown; the page may draw it anew between the look and the press."""
    script = "arguments[0].scrollIntoView({block: 'center'}); arguments[0].click(); return true"
    until(lambda: driver.execute_script(script, shown(driver, css)), f"{css} pressed")


def errors(driver):
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "ERROR")]


def kept(driver):
    return json.loads(driver.execute_script("return sessionStorage.getItem('flowedit')") or "{}")


def edited(driver):
    """The id of the result that is shown, once one is."""
    shown(driver, "#fe-player canvas")
    return until(lambda: (kept(driver).get("player") or {}).get("id"), "a result's id")
