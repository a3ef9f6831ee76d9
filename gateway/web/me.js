// Who "me" is, per game: a choice of the person at this browser, kept here and nowhere else.

export const myself = (game) => localStorage.getItem(`me:${game}`) ?? "";
export function setMyself(game, user) {
  if (user) localStorage.setItem(`me:${game}`, user);
  else localStorage.removeItem(`me:${game}`);
}
