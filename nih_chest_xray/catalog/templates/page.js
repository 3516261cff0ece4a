"use strict";
{
  const byId = (id) => document.getElementById(id);
  const announce = (text) => { byId("announcement").textContent = text; };

  // If the page may not write to the clipboard, the old command copies the selection.
  const copySelected = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };

  for (const button of document.querySelectorAll(".copy")) {
    const text = button.firstChild;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const node = byId(button.dataset.copies);
      let copied = true;
      try {
        await navigator.clipboard.writeText(node.textContent);
      } catch {
        copied = copySelected(node);
      }
      text.data = copied ? "Copied" : "Selected";
      announce(copied ? "Copied to the clipboard." : "Selected. Copy it with the keyboard.");
      setTimeout(() => { text.data = "Copy"; }, 2000);
    });
  }

  const viewer = byId("viewer");
  const links = [...document.querySelectorAll(".zoom")];
  let shown = 0;

  const show = (number) => {
    shown = (number + links.length) % links.length;
    const link = links[shown];
    const copies = [...link.children].map((child) => child.cloneNode(true));
    byId("viewer-stage").replaceChildren(...copies);
    const words = [...link.parentNode.querySelectorAll("figcaption span")].map((span) => span.cloneNode(true));
    const title = words.shift();
    byId("viewer-title").textContent = `${title.textContent} (${shown + 1} of ${links.length})`;
    byId("viewer-text").replaceChildren(...words);
  };

  links.forEach((link, number) => {
    link.setAttribute("aria-haspopup", "dialog");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      show(number);
      viewer.showModal();
    });
  });
  if (viewer) {
    byId("viewer-before").addEventListener("click", () => show(shown - 1));
    byId("viewer-after").addEventListener("click", () => show(shown + 1));
    byId("viewer-close").addEventListener("click", () => viewer.close());
    viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
    viewer.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") show(shown - 1);
      if (event.key === "ArrowRight") show(shown + 1);
    });
    // Return the focus to the last picture shown, so that keyboard users continue from there.
    viewer.addEventListener("close", () => links[shown].focus());
  }
}
