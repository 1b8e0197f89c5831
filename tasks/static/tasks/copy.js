// A link with data-copy puts what it leads to on the clipboard and says so; without a clipboard it stays a link.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-copy]");
  if (!link || !navigator.clipboard || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const text = link.querySelector("[data-copy-text]");
  const before = text.textContent;
  try {
    const answer = await fetch(link.href);
    if (!answer.ok) throw new Error(answer.status);
    await navigator.clipboard.writeText(await answer.text());
    text.textContent = link.dataset.copy;
    setTimeout(() => { text.textContent = before; }, 2000);
  } catch {
    location.assign(link.href);
  }
});
