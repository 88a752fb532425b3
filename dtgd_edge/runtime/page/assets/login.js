"use strict";

const form = document.getElementById("form");
const token = document.getElementById("token");
const fault = document.getElementById("fault");

async function logIn(text) {
  fault.textContent = "";
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: text }),
    });
    if (answer.ok) {
      location.replace("/");
      return;
    }
    fault.textContent = (await answer.json()).error;
  } catch {
    fault.textContent = "the line does not answer; is it running?";
  }
  token.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  logIn(token.value.trim());
});

// The address that the line shows at its start carries the token where browsers do not send it.
if (location.hash.length > 1) {
  const text = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", "/login");
  logIn(text);
}
